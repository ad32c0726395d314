/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The pump: carries bytes between the program's pipes and the serial ports, and obeys the host's commands.
 *
 * Wires
 *
 *   data port, host to guest     frames: length (2 bytes, little endian), then that many bytes of standard input;
 *                                length 0 is the end of standard input. (Terminal mode: plain bytes, not ours.)
 *   data port, guest to host     standard output, byte for byte
 *   error port, guest to host    standard error, byte for byte
 *   control port, guest to host  "start": init is up, the host may send; "pids M N": the program's and the pump's numbers;
 *                                "credit N": N more bytes of the data port were taken. A serial line has no flow
 *                                control, so the host never has more than WINDOW bytes (frame headers included) on
 *                                their way.
 *   control port, host to guest  "signal N": send the program's process group that signal
 *                                "size ROWS COLS": the host's window has changed (terminal mode)
 *
 * Ends when the program has exited (end-of-file on `program_done`) and whatever its pipes still held is on the wire.
 */
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#define CHUNK 4096

/* Standard input on its way from the data port to the program's pipe. */
struct stdin_flow {
	unsigned char header[2];
	unsigned header_have;   /* bytes of `header` that have come */
	unsigned frame_left;    /* bytes of the current frame still to come from the port */
	unsigned char data[CHUNK];
	size_t start, end;      /* data[start..end] waits for room in the pipe */
	bool closed;            /* end-of-input seen, or the program does not read any more */
};

static bool write_fully(int fd, const void *bytes, size_t size)
{
	const char *at = bytes;

	while (size > 0) {
		ssize_t n = write(fd, at, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			struct pollfd p = { .fd = fd, .events = POLLOUT };

			poll(&p, 1, -1);
			continue;
		}
		if (n <= 0)
			return false;
		at += n;
		size -= (size_t)n;
	}
	return true;
}

static void grant_credit(int control, size_t bytes)
{
	char line[32];
	int length = snprintf(line, sizeof(line), "credit %zu\n", bytes);

	write_fully(control, line, (size_t)length);
}

static void end_stdin(struct pump *pump, struct stdin_flow *flow)
{
	flow->closed = true;
	flow->start = flow->end = 0;
	if (pump->to_stdin >= 0)
		close(pump->to_stdin);
	pump->to_stdin = -1;
}

/* Takes `size` bytes of frames; payload goes to flow->data, which has room for them. */
static void unframe(struct pump *pump, struct stdin_flow *flow, const unsigned char *bytes, size_t size)
{
	while (size > 0) {
		if (flow->frame_left == 0) {
			flow->header[flow->header_have++] = *bytes++;
			size--;
			if (flow->header_have < 2)
				continue;
			flow->header_have = 0;
			flow->frame_left = flow->header[0] | (unsigned)flow->header[1] << 8;
			if (flow->frame_left == 0 && flow->start == flow->end)
				end_stdin(pump, flow);
			else if (flow->frame_left == 0)
				flow->closed = true; /* once data[] is written out */
			continue;
		}
		size_t n = size < flow->frame_left ? size : flow->frame_left;

		if (!flow->closed) {
			memcpy(flow->data + flow->end, bytes, n);
			flow->end += n;
		}
		flow->frame_left -= (unsigned)n;
		bytes += n;
		size -= n;
	}
}

/* The port has bytes and data[] is empty: take some. Input for a program that has closed its end is swallowed. */
static void take_input(struct pump *pump, struct stdin_flow *flow)
{
	unsigned char bytes[CHUNK];
	ssize_t n = read(pump->ports.data, bytes, sizeof(bytes));

	if (n <= 0)
		return;
	flow->start = flow->end = 0;
	unframe(pump, flow, bytes, (size_t)n);
	grant_credit(pump->ports.control, (size_t)n);
}

/* The program's pipe has room: give. */
static void give_input(struct pump *pump, struct stdin_flow *flow)
{
	ssize_t n = write(pump->to_stdin, flow->data + flow->start, flow->end - flow->start);

	if (n > 0)
		flow->start += (size_t)n;
	else if (n < 0 && errno != EAGAIN && errno != EINTR)
		end_stdin(pump, flow);
	if (flow->closed && flow->start == flow->end)
		end_stdin(pump, flow);
}

/* One chunk from pipe to port. Closes the pipe at its end. Returns false when there was nothing to move. */
static bool move_output(int *from, int to)
{
	char bytes[CHUNK];
	ssize_t n = read(*from, bytes, sizeof(bytes));

	if (n < 0)
		return errno == EINTR;
	if (n == 0) {
		close(*from);
		*from = -1;
		return false;
	}
	return write_fully(to, bytes, (size_t)n);
}

static void obey_line(struct pump *pump, const char *line)
{
	unsigned rows, cols;
	int signal;

	if (sscanf(line, "signal %d", &signal) == 1) {
		if (kill(-pump->program, signal) < 0)
			kill(pump->program, signal);
	} else if (sscanf(line, "size %u %u", &rows, &cols) == 2) {
		struct winsize size = { .ws_row = (unsigned short)rows, .ws_col = (unsigned short)cols };

		ioctl(pump->ports.data, TIOCSWINSZ, &size);
	}
}

static void take_commands(struct pump *pump)
{
	static char line[128];
	static size_t length;
	char bytes[64];
	ssize_t n = read(pump->ports.control, bytes, sizeof(bytes));

	for (ssize_t i = 0; i < n; i++) {
		if (bytes[i] == '\n') {
			line[length] = '\0';
			obey_line(pump, line);
			length = 0;
		} else if (length < sizeof(line) - 1) {
			line[length++] = bytes[i];
		}
	}
}

static void set_nonblocking(int fd)
{
	if (fd >= 0)
		fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

/* The program is gone; its pipes may still hold output, and may still be held open by orphans, whom we do not await. */
static void drain(struct pump *pump)
{
	while (pump->from_stdout >= 0 && move_output(&pump->from_stdout, pump->ports.data))
		;
	while (pump->from_stderr >= 0 && move_output(&pump->from_stderr, pump->ports.error))
		;
}

enum { DONE, CONTROL, OUT, ERR, INPUT, STDIN_ROOM, SOURCES };

void run_pump(struct pump *pump)
{
	static struct stdin_flow flow;
	bool pipes = pump->from_stdout >= 0;

	signal(SIGPIPE, SIG_IGN);
	set_nonblocking(pump->to_stdin);
	set_nonblocking(pump->from_stdout);
	set_nonblocking(pump->from_stderr);
	for (;;) {
		bool pending = flow.start < flow.end;
		struct pollfd fds[SOURCES] = {
			[DONE] = { .fd = pump->program_done, .events = POLLIN },
			[CONTROL] = { .fd = pump->ports.control, .events = POLLIN },
			[OUT] = { .fd = pump->from_stdout, .events = POLLIN },
			[ERR] = { .fd = pump->from_stderr, .events = POLLIN },
			/* Input is taken only when the last piece has gone: what waits on the wire is bounded by credit. */
			[INPUT] = { .fd = pipes && !pending ? pump->ports.data : -1, .events = POLLIN },
			[STDIN_ROOM] = { .fd = pending ? pump->to_stdin : -1, .events = POLLOUT },
		};

		if (poll(fds, SOURCES, -1) < 0)
			continue;
		if (fds[OUT].revents)
			move_output(&pump->from_stdout, pump->ports.data);
		if (fds[ERR].revents)
			move_output(&pump->from_stderr, pump->ports.error);
		if (fds[STDIN_ROOM].revents)
			give_input(pump, &flow);
		if (fds[INPUT].revents)
			take_input(pump, &flow);
		if (fds[CONTROL].revents)
			take_commands(pump);
		if (fds[DONE].revents)
			break;
	}
	drain(pump);
}
