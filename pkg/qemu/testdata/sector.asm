# A boot sector that stands in for an operating system: says "mycelium: test
# guest ready" on the first serial port, echoes what it reads there, counts the
# boots in the disk's second sector, and powers off when the power button is
# pressed (ACPI PM block at 0x600, as SeaBIOS sets it up on q35).
#
#   as --32 sector.asm -o sector.o
#   ld -m elf_i386 --oformat binary -e start -Ttext 0x7c00 sector.o -o sector.bin
.code16
start:
  xor %ax,%ax
  mov %ax,%ds
  mov %ax,%es
  mov %ax,%ss
  mov $0x7c00,%sp
  mov %dl,drive
  # read sector 2, count up, write it back
  mov $0x0201,%ax
  call disk
  incb 0x8000
  mov $0x0301,%ax
  call disk
  mov $msg,%si
1: lodsb
  test %al,%al
  jz 2f
  call put
  jmp 1b
2: mov 0x8000,%al
  add $'0',%al
  call put
  mov $'\r',%al
  call put
  mov $'\n',%al
  call put
  mov $0x602,%dx          # PM1_EN: power button
  mov $0x100,%ax
  out %ax,%dx
3: mov $0x600,%dx         # PM1_STS
  in %dx,%ax
  test $0x100,%ax
  jnz off
  mov $0x3fd,%dx
  in %dx,%al
  test $1,%al
  jz 3b
  mov $0x3f8,%dx
  in %dx,%al
  call put
  jmp 3b
off:
  mov $0x604,%dx          # PM1_CNT: SLP_TYP S5, SLP_EN
  mov $0x2000,%ax
  out %ax,%dx
4: hlt
  jmp 4b
put:
  push %ax
  mov $0x3fd,%dx
5: in %dx,%al
  test $0x20,%al
  jz 5b
  pop %ax
  mov $0x3f8,%dx
  out %al,%dx
  ret
disk:
  mov $0x8000,%bx
  mov $0x0002,%cx
  mov $0,%dh
  mov drive,%dl
  int $0x13
  ret
msg: .asciz "mycelium: test guest ready, boot "
drive: .byte 0
.org 510
.word 0xaa55
