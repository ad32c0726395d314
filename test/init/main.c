/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Process 1: set up the machine, start the program and the pump, wait, report, turn off.
 *
 *   init ──fork──> program   (its own session; pipes or the terminal)
 *        ──fork──> pump      (pipe mode: bytes between pipes and ports; both modes: commands from the host)
 *
 * The last line on the control port says how it went and is written after every byte of output has left the machine:
 *
 *   exit N            the program exited with status N
 *   signal N          a signal ended it
 *   error TEXT        it could not be started at all
 */
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

enum { STDIN, STDOUT, STDERR };

static void write_all(int fd, const char *text)
{
	size_t left = strlen(text);

	while (left > 0) {
		ssize_t n = write(fd, text, left);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		text += n;
		left -= (size_t)n;
	}
}

void complain(const struct ports *ports, const char *what, const char *detail)
{
	char line[512];
	int fd = ports && ports->control >= 0 ? ports->control : STDERR;

	snprintf(line, sizeof(line), "error %s: %s\n", what, detail);
	write_all(fd, line);
}

/* In the child: become the program. Fails as a shell would: 127 if there is no such file, else 126. */
static void become_program(const struct job *job)
{
	char message[512];
	int error;

	if (job->cwd && chdir(job->cwd) < 0) {
		snprintf(message, sizeof(message), "pollux: cannot enter %s: %s\n", job->cwd, strerror(errno));
		write_all(STDERR, message);
		_exit(126);
	}
	const char *path = job->argv[0];

	if (job->argv0)
		job->argv[0] = job->argv0;
	execve(path, job->argv, job->envp);
	error = errno;
	snprintf(message, sizeof(message), "pollux: cannot execute %s: %s\n", path, strerror(error));
	write_all(STDERR, message);
	_exit(error == ENOENT ? 127 : 126);
}

static void must_dup(int from, int to)
{
	if (dup2(from, to) < 0)
		_exit(126);
}

/* In the child: the terminal becomes the controlling terminal and the three standard streams. */
static void enter_terminal(void)
{
	setsid();
	int fd = open(DATA_PORT, O_RDWR);

	if (fd < 0)
		_exit(126);
	ioctl(fd, TIOCSCTTY, 0);
	for (int i = STDIN; i <= STDERR; i++)
		must_dup(fd, i);
	if (fd > STDERR)
		close(fd);
}

/* Waits until `child` is gone, reaping whatever else was orphaned meanwhile. Returns its wait status. */
static int reap_until(pid_t child)
{
	for (;;) {
		int status;
		pid_t pid = wait4(-1, &status, 0, NULL);

		if (pid == child)
			return status;
		if (pid < 0 && errno != EINTR)
			return 0;
	}
}

/* What the program and init share, besides the ports. Every descriptor is close-on-exec. */
struct plumbing {
	int in[2], out[2], err[2]; /* pipe mode only */
	int alive[2];              /* init holds the write end for as long as the program lives */
};

static bool lay_pipes(struct plumbing *p, bool terminal)
{
	memset(p, -1, sizeof(*p));
	if (pipe2(p->alive, O_CLOEXEC) < 0)
		return false;
	if (terminal)
		return true;
	return pipe2(p->in, O_CLOEXEC) == 0 && pipe2(p->out, O_CLOEXEC) == 0 && pipe2(p->err, O_CLOEXEC) == 0;
}

static pid_t start_program(const struct job *job, const struct plumbing *p)
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	if (job->terminal) {
		enter_terminal();
	} else {
		setsid();
		must_dup(p->in[0], STDIN);
		must_dup(p->out[1], STDOUT);
		must_dup(p->err[1], STDERR);
	}
	become_program(job);
	_exit(126);
}

static void close_if_open(int fd)
{
	if (fd >= 0)
		close(fd);
}

/* The far ends belong to the program alone: end-of-file and EPIPE must work. */
static void close_far_ends(const struct plumbing *p)
{
	close_if_open(p->in[0]);
	close_if_open(p->out[1]);
	close_if_open(p->err[1]);
}

/* Runs the job to its end and leaves the closing line in `line`. */
static void run_job(const struct job *job, const struct ports *ports, char *line, size_t size)
{
	struct plumbing p;

	if (!lay_pipes(&p, job->terminal)) {
		snprintf(line, size, "error pipe: %s\n", strerror(errno));
		return;
	}
	pid_t program = start_program(job, &p);

	if (program < 0) {
		snprintf(line, size, "error fork: %s\n", strerror(errno));
		return;
	}
	close_far_ends(&p);
	struct pump pump = {
		.ports = *ports,
		.to_stdin = p.in[1],
		.from_stdout = p.out[0],
		.from_stderr = p.err[0],
		.program_done = p.alive[0],
		.program = program,
	};
	/* The pump must not hold its own life line: it closes the write end first thing. */
	int life_line = p.alive[1];
	pid_t pump_pid = fork();

	if (pump_pid == 0) {
		close(life_line);
		run_pump(&pump);
		_exit(0);
	}
	/* Who traces system calls will want to tell them apart. */
	snprintf(line, size, "pids %d %d\n", (int)program, (int)pump_pid);
	write_all(ports->control, line);
	close_if_open(p.in[1]);
	close_if_open(p.out[0]);
	close_if_open(p.err[0]);
	close(p.alive[0]);

	int status = reap_until(program);

	close(life_line);
	if (pump_pid > 0)
		reap_until(pump_pid);
	if (WIFSIGNALED(status))
		snprintf(line, size, "signal %d\n", WTERMSIG(status));
	else
		snprintf(line, size, "exit %d\n", WEXITSTATUS(status));
}

int main(void)
{
	struct ports ports = { -1, -1, -1 };
	struct job job = { 0 };
	char line[256];
	const char *problem;

	set_up_machine();
	ports.data = open_raw_port(DATA_PORT);
	ports.error = open_raw_port(ERROR_PORT);
	ports.control = open_raw_port(CONTROL_PORT);
	problem = read_job(&job);
	if (ports.data < 0 || ports.error < 0 || ports.control < 0) {
		complain(&ports, "serial ports", "cannot open " DATA_PORT ", " ERROR_PORT " or " CONTROL_PORT);
	} else if (problem) {
		complain(&ports, JOB_FILE, problem);
	} else {
		if (job.terminal)
			make_cooked(ports.data, job.rows, job.cols);
		write_all(ports.control, "start\n");
		run_job(&job, &ports, line, sizeof(line));
		tcdrain(ports.data);
		tcdrain(ports.error);
		write_all(ports.control, line);
	}
	if (ports.control >= 0)
		tcdrain(ports.control);
	turn_off();
}
