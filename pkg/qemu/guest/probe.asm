# A 64 KiB ROM's code that does what any firmware and kernel do first: protected
# mode, x87 and SSE set-up, paging, long mode, CPUID. It ends by writing 0x2a to
# the debug-exit port 0xf4, which ends QEMU with status 0x2a<<1|1 = 85.
#
#   as --64 probe.asm -o probe.o
#   ld -m elf_x86_64 --oformat binary -e start -Ttext 0xf0000 probe.o -o probe.bin
.code16
start:
  cli
  lgdtl %cs:(gdtr-start)
  mov %cr0,%eax
  or $1,%al
  mov %eax,%cr0
  ljmpl $8,$pm
.code32
pm:
  mov $0x10,%ax
  mov %ax,%ds
  mov %ax,%es
  mov %ax,%ss
  mov $0x8000,%esp
  # x87 and SSE without paging, as firmware does; thin hypervisors stumble here
  fwait
  fninit
  pushl $0x37f
  fldcw (%esp)
  mov %cr4,%eax
  or $0x620,%eax          # PAE, OSFXSR, OSXMMEXCPT
  mov %eax,%cr4
  # page tables: 0x1000 -> 0x2000 -> 0x3000 -> one page of 2 MiB
  movl $0x2003,0x1000
  movl $0,0x1004
  movl $0x3003,0x2000
  movl $0,0x2004
  movl $0x83,0x3000
  movl $0,0x3004
  mov $0x1000,%eax
  mov %eax,%cr3
  mov $0xc0000080,%ecx
  rdmsr
  or $0x100,%eax          # EFER.LME
  wrmsr
  mov %cr0,%eax
  or $0x80000000,%eax     # PG
  and $0xfffffffb,%eax    # not EM
  or $2,%eax              # MP
  mov %eax,%cr0
  ljmpl $0x18,$lm
.code64
lm:
  # the page tables map the first 2 MiB, so this ROM at 0xf0000 too
  mov $0x12345678,%eax
  movd %eax,%xmm0
  movups %xmm0,0x4000
  pushfq
  popfq
  xor %eax,%eax
  cpuid
  cmpl $0x12345678,0x4000
  jne 1f
  mov $0x2a,%al
  mov $0xf4,%dx
  out %al,%dx
1: hlt
  jmp 1b
.balign 8
gdt:
  .quad 0
  .quad 0x00cf9b000000ffff
  .quad 0x00cf93000000ffff
  .quad 0x00af9b000000ffff
gdtr:
  .word 31
  .long gdt
