/*
 * nft: the command line of libnftables, as far as programs use it.
 *
 *   nft [-c|--check] [-j|--json] [-a|--handle] [-e|--echo] [-n|--numeric]
 *       [-s|--stateless] [-t|--terse] {-f|--file FILE | COMMAND...}
 *   nft -v|--version
 *
 * FILE "-" is standard input (through /proc, which is there before /dev/stdin
 * is). The exit status is 0 when everything was done,
 * otherwise nothing was done. There is no interactive mode.
 */
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <nftables/libnftables.h>

static const struct option long_options[] = {
	{"check", no_argument, NULL, 'c'},
	{"json", no_argument, NULL, 'j'},
	{"handle", no_argument, NULL, 'a'},
	{"echo", no_argument, NULL, 'e'},
	{"numeric", no_argument, NULL, 'n'},
	{"stateless", no_argument, NULL, 's'},
	{"terse", no_argument, NULL, 't'},
	{"file", required_argument, NULL, 'f'},
	{"version", no_argument, NULL, 'v'},
	{NULL, 0, NULL, 0},
};

static int usage(void)
{
	fputs("usage: nft [-c] [-j] [-a] [-e] [-n] [-s] [-t] {-f FILE | COMMAND...} | nft -v\n", stderr);
	return EXIT_FAILURE;
}

/* The words of a command, joined by spaces, as libnftables wants them. */
static char *join(char **words, int count)
{
	size_t size = 1;
	for (int i = 0; i < count; i++)
		size += strlen(words[i]) + 1;
	char *line = malloc(size);
	if (line == NULL)
		return NULL;
	char *end = line;
	for (int i = 0; i < count; i++) {
		if (i > 0)
			*end++ = ' ';
		end = stpcpy(end, words[i]);
	}
	*end = '\0';
	return line;
}

static int run(struct nft_ctx *ctx, const char *file, char **words, int count)
{
	if (file != NULL)
		return nft_run_cmd_from_filename(ctx, strcmp(file, "-") == 0 ? "/proc/self/fd/0" : file);
	char *line = join(words, count);
	if (line == NULL) {
		fputs("nft: out of memory\n", stderr);
		return -1;
	}
	int rc = nft_run_cmd_from_buffer(ctx, line);
	free(line);
	return rc;
}

int main(int argc, char **argv)
{
	unsigned int output = 0;
	bool check = false;
	const char *file = NULL;
	int c;

	/* "+": words that follow the command are not ours to read */
	while ((c = getopt_long(argc, argv, "+cjaenstf:v", long_options, NULL)) != -1) {
		switch (c) {
		case 'c': check = true; break;
		case 'j': output |= NFT_CTX_OUTPUT_JSON; break;
		case 'a': output |= NFT_CTX_OUTPUT_HANDLE; break;
		case 'e': output |= NFT_CTX_OUTPUT_ECHO; break;
		case 'n': output |= NFT_CTX_OUTPUT_NUMERIC_ALL; break;
		case 's': output |= NFT_CTX_OUTPUT_STATELESS; break;
		case 't': output |= NFT_CTX_OUTPUT_TERSE; break;
		case 'f': file = optarg; break;
		case 'v':
			printf("nftables v%s (libnftables)\n", NFTABLES_VERSION);
			return EXIT_SUCCESS;
		default: return usage();
		}
	}
	if ((file == NULL) == (optind == argc))
		return usage();

	struct nft_ctx *ctx = nft_ctx_new(NFT_CTX_DEFAULT);
	if (ctx == NULL) {
		fputs("nft: out of memory\n", stderr);
		return EXIT_FAILURE;
	}
	nft_ctx_output_set_flags(ctx, output);
	nft_ctx_set_dry_run(ctx, check);
	int rc = run(ctx, file, argv + optind, argc - optind);
	nft_ctx_free(ctx);
	if (fflush(stdout) != 0) {
		fprintf(stderr, "nft: write the output: %s\n", strerror(errno));
		return EXIT_FAILURE;
	}
	return rc == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
