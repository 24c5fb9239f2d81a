package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/digital-mycelium/os/cmd/mycelium/internal/flash"
)

// flashOptions are the flags of "flash".
type flashOptions struct {
	baked                    bakedFlags
	list, yes, force, verify bool
	output                   outputFormat
}

func newFlashCommand() *cobra.Command {
	var o flashOptions
	cmd := &cobra.Command{
		Use:   "flash IMAGE DISK|FILE",
		Short: "Write a disk image onto a disk, with the machine's configuration",
		Long: `Write a disk image onto a disk: an SD card, a USB stick, a disk in a case, or a file.

IMAGE is disk.img or disk.img.zst. What the block map beside it (.bmap) leaves out
is not written. Everything is read back from the disk. A disk that is in use is
refused, one that is built in without --force too; "mycelium flash --list" shows
what there is.

--config, --hostname, --network, --invite and --wifi-ssid change the configuration on
the disk's first partition in the same step; the image stays as it is. "--invite auto"
makes an invite for one machine. The password of a wireless network comes from
--wifi-password-file or is asked for.

Without the right to open the disk, udisks asks you for it (on macOS: authopen).`,
		Example: "  mycelium flash --list\n  mycelium flash out/rpi/disk.img.zst /dev/sdb --network home --invite auto --hostname kitchen\n  mycelium flash out/rpi/disk.img.zst /dev/sdb --network home --invite auto --wifi-ssid Attic --wifi-country DE",
		Args: func(cmd *cobra.Command, args []string) error {
			if o.list {
				return cobra.NoArgs(cmd, args)
			}
			return cobra.ExactArgs(2)(cmd, args)
		},
		ValidArgsFunction: completeFlash,
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.list {
				return listDrives(cmd, o.output)
			}
			return runFlash(cmd, &o, args[0], args[1])
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.list, "list", false, "list the disks, and whether they can be written to")
	f.BoolVarP(&o.yes, "yes", "y", false, "do not ask")
	f.BoolVar(&o.force, "force", false, "write to a disk that is built in, too")
	f.BoolVar(&o.verify, "verify", true, "read everything back")
	o.baked.register(cmd)
	o.baked.registerInstaller(cmd)
	o.baked.makeInvite = true
	f.Lookup("invite").Usage = `file with a token of "mycelium invite" that lets the machine in (- is standard input), or auto to make one`
	o.output.register(cmd)
	return cmd
}

// completeFlash gives the shell image files, then disks that can be written to.
func completeFlash(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	switch len(args) {
	case 0:
		return []string{"img", "zst"}, cobra.ShellCompDirectiveFilterFileExt
	case 1:
		drives, _ := flash.Drives(cmd.Context())
		var out []string
		for _, d := range drives {
			if d.Check(false) == nil {
				out = append(out, d.Path+"\t"+d.Describe())
			}
		}
		return out, cobra.ShellCompDirectiveDefault
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// driveRow is what --list shows of a disk.
type driveRow struct {
	Path      string   `json:"path"`
	Model     string   `json:"model"`
	Size      int64    `json:"size"`
	Bus       string   `json:"bus"`
	Removable bool     `json:"removable"`
	Uses      []string `json:"uses"`
	// Refused says why it is not written to without --force, or at all.
	Refused string `json:"refused,omitempty"`
}

func listDrives(cmd *cobra.Command, format outputFormat) error {
	drives, err := flash.Drives(cmd.Context())
	if err != nil {
		return err
	}
	rows := make([]driveRow, 0, len(drives))
	for _, d := range drives {
		row := driveRow{d.Path, d.Model, d.Size, d.Bus, d.Removable, append([]string{}, d.Uses...), ""}
		if err := d.Check(false); err != nil {
			row.Refused = err.Error()
		}
		rows = append(rows, row)
	}
	return format.write(cmd.OutOrStdout(), rows, func(w io.Writer) error {
		table := [][]string{{"DISK", "SIZE", "BUS", "MODEL", "IN USE", "CAN BE WRITTEN"}}
		for i, r := range rows {
			can := "yes"
			switch {
			case r.Refused == "":
			case drives[i].Check(true) == nil:
				can = "with --force"
			default:
				can = "no"
			}
			table = append(table, []string{r.Path, flash.Bytes(r.Size), r.Bus, r.Model, strings.Join(r.Uses, ", "), can})
		}
		return writeTable(w, table)
	})
}

func runFlash(cmd *cobra.Command, o *flashOptions, from, to string) (err error) {
	if err := o.baked.check(); err != nil {
		return err
	}
	if err := o.baked.wifi.ask(cmd); err != nil {
		return err
	}
	image, err := flash.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = image.Close() }()
	if o.baked.installer != "" {
		pi, err := image.HasMBR()
		if err == nil && pi {
			err = fmt.Errorf("--installer: %s is for a Raspberry Pi, which does not install itself: write it to the disk that is to stay", from)
		}
		if err != nil {
			return err
		}
	}
	target, err := openTarget(cmd, o, image, to)
	if err != nil {
		return err
	}
	show := newFlashProgress(cmd.ErrOrStderr(), time.Now)
	options := flash.Options{Renew: true, SkipVerify: !o.verify, Progress: show.see}
	if o.baked.given() {
		options.Edit = func(old []byte) ([]byte, error) { return o.baked.document(cmd, old) }
	}
	err = flash.Write(cmd.Context(), image, target.Disk, options)
	show.close()
	if err != nil {
		return errors.Join(err, target.Abort())
	}
	said, err := target.Finish()
	if err != nil {
		return fmt.Errorf("%s: %w", to, err)
	}
	verified := ""
	if o.verify {
		verified = " and verified"
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: written%s in %.0f s. %s\n", to, verified, show.elapsed().Seconds(), said)
	return err
}

// openTarget opens what the image is to be written to, once its owner agrees.
func openTarget(cmd *cobra.Command, o *flashOptions, image *flash.Image, path string) (*flash.Target, error) {
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !strings.HasPrefix(filepath.Clean(path), "/dev/"):
		return flash.OpenFile(path, image.Size)
	case err != nil:
		return nil, fmt.Errorf("look at the disk: %w", err)
	case st.Mode().IsRegular():
		if source, err := os.Stat(image.Path); err == nil && os.SameFile(source, st) {
			return nil, fmt.Errorf("%s is the image itself", path)
		}
		if err := image.Check(path, st.Size()); err != nil {
			return nil, err
		}
		if err := confirm(cmd, o.yes, "This overwrites the file "+path+".", []string{filepath.Base(path)}); err != nil {
			return nil, err
		}
		return flash.OpenFile(path, image.Size)
	case st.Mode()&fs.ModeDevice == 0:
		return nil, fmt.Errorf("%s is neither a disk nor a file", path)
	}
	drive, err := findDrive(cmd.Context(), path)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(drive.Check(o.force), image.Check(drive.Path, drive.Size)); err != nil {
		return nil, err
	}
	if err := confirm(cmd, o.yes, fmt.Sprintf("This erases everything on %s: %s.", drive.Path, drive.Describe()), []string{drive.Name}); err != nil {
		return nil, err
	}
	target, err := flash.OpenDrive(cmd.Context(), drive)
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("%w; as root it goes: sudo --preserve-env=HOME,XDG_DATA_HOME %s", err, strings.Join(os.Args, " "))
	}
	return target, err
}

// findDrive returns the disk that path, or what it links to, names.
func findDrive(ctx context.Context, path string) (flash.Drive, error) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return flash.Drive{}, fmt.Errorf("look at the disk: %w", err)
	}
	drives, err := flash.Drives(ctx)
	if err != nil {
		return flash.Drive{}, err
	}
	for _, d := range drives {
		if real == d.Path || real == "/dev/"+d.Name {
			return d, nil
		}
	}
	return flash.Drive{}, fmt.Errorf("%s is no whole disk: \"mycelium flash --list\" shows those that there are", path)
}
