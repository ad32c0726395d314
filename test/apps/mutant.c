// SPDX-License-Identifier: MPL-2.0
//
// Runs a program on a kernel that lies: the named system calls do nothing and answer with an error, or with 0.
//
//   mutant CALL=ERRNO[,CALL=ERRNO...] PROGRAM [ARG...]     numbers or, for ERRNO, 0 for "success"
//
// `mutants.py` uses it to show that each test can fail. Writes to standard output and error are left alone, so that the
// program can still say what it saw. Linux only (seccomp).
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MAX_CODE = 256 };

static struct sock_filter code[MAX_CODE];
static unsigned short length;

static void emit(struct sock_filter instruction) {
    if (length == MAX_CODE)
        exit(2);
    code[length++] = instruction;
}

#define LOAD(field) emit((struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field)))

// If the call is `number` (and not a write to 1 or 2), answer `error`.
static void add_mutation(unsigned number, unsigned error) {
    LOAD(nr);
    if (number == SYS_write) {
        emit((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 4));
        LOAD(args[0]);
        emit((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 1, 2, 0));
        emit((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 2, 1, 0));
    } else
        emit((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1));
    emit((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (error & SECCOMP_RET_DATA)));
}

int main(int argc, char **argv) {
    if (argc < 3) {
        fprintf(stderr, "usage: mutant CALL=ERRNO[,CALL=ERRNO...] PROGRAM [ARG...]\n");
        return 2;
    }
    for (char *item = strtok(argv[1], ","); item; item = strtok(NULL, ",")) {
        unsigned number, error;
        if (sscanf(item, "%u=%u", &number, &error) != 2)
            return 2;
        add_mutation(number, error);
    }
    emit((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
    struct sock_fprog filter = {length, code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) {
        perror("seccomp");
        return 2;
    }
    execv(argv[2], argv + 2);
    perror(argv[2]);
    return 2;
}
