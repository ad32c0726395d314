/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The guest's init program: process 1 of every machine that `./pollux run` boots, on Pollux and on Linux alike.
 *
 * It reads a job from the image, runs that one program, carries its bytes and its exit status to the host over serial
 * ports, and turns the machine off. See main.c for the order of events and pump.c for what goes over the wires.
 *
 * It asks little of the kernel: plain system calls only, two forks, no signal handlers, no threads.
 */
#ifndef POLLUX_INIT_H
#define POLLUX_INIT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* The wires. ttyS0 is the kernel's own log. */
#define DATA_PORT "/dev/ttyS1"    /* program's standard input and output; its terminal in terminal mode */
#define ERROR_PORT "/dev/ttyS2"   /* program's standard error */
#define CONTROL_PORT "/dev/ttyS3" /* lines of text, both ways */

#define JOB_FILE "/etc/pollux/job"

/* What to run: NUL-terminated records `key=value` in JOB_FILE. */
struct job {
	char **argv;         /* arg=...   one per argument; [0] is the path to execute, argv0= may rename it */
	char *argv0;         /* argv0=... what the program sees as its name (default: its path) */
	char **envp;         /* env=K=V   one per variable */
	char *cwd;           /* cwd=...   */
	bool terminal;       /* tty=1     the program gets DATA_PORT as its controlling terminal */
	unsigned short rows; /* rows=N    initial window size, terminal mode */
	unsigned short cols; /* cols=N    */
};

/* The three ports, opened once; -1 for one that could not be. */
struct ports {
	int data;
	int error;
	int control;
};

/* What the pump needs to know: the near ends of the program's pipes (pipe mode), and where the program is. */
struct pump {
	struct ports ports;
	int to_stdin;     /* write end, or -1 in terminal mode */
	int from_stdout;  /* read ends, or -1 in terminal mode */
	int from_stderr;
	int program_done; /* read end: end-of-file here means that the program has exited */
	pid_t program;
};

/* setup.c */
void set_up_machine(void);
int open_raw_port(const char *path);
void make_cooked(int fd, unsigned short rows, unsigned short cols);
void turn_off(void);

/* job.c */
const char *read_job(struct job *job);

/* pump.c */
void run_pump(struct pump *pump);

/* main.c: say something that the host will show on standard error */
void complain(const struct ports *ports, const char *what, const char *detail);

#endif
