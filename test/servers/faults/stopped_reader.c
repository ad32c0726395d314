/* SPDX-License-Identifier: MPL-2.0 */
/*
 * stopped_reader ROUNDS
 *
 * A peer that does not read: the sender can send a bounded number of bytes, is then told EAGAIN and no longer OUT, and
 * goes on when the peer reads again; nothing is lost. A blocked sender wakes up when the peer dies instead.
 */
#include "faults.h"

enum { PAIRS = 50, LIMIT = 16 << 20 };

static void make_pair(bool unix_socket, int fds[2])
{
	struct sockaddr_in address;

	if (unix_socket) {
		must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds));
		return;
	}
	int listener = tcp_listener(8, &address);

	fds[0] = must(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
	must(connect(fds[0], (struct sockaddr *)&address, sizeof(address)));
	wait_ready(listener, POLLIN);
	fds[1] = must(accept4(listener, NULL, NULL, SOCK_CLOEXEC));
	close(listener);
}

/* Sends until it would block; a byte's value is its position's. Returns how many went out. */
static size_t fill(int fd, size_t from)
{
	unsigned char buffer[10007];
	size_t sent = from;

	for (;;) {
		for (size_t i = 0; i < sizeof(buffer); i++)
			buffer[i] = (sent + i) % 251;
		ssize_t n = send(fd, buffer, sizeof(buffer), MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN)
			return sent;
		sent += must(n);
		if (sent - from > LIMIT)
			die("%zu bytes went to a peer that does not read", sent);
	}
}

static void drain(int fd, size_t from, size_t to)
{
	unsigned char buffer[20011];

	while (from < to) {
		ssize_t n = must(recv(fd, buffer, sizeof(buffer), 0));

		if (n == 0)
			die("end of file at %zu of %zu", from, to);
		for (ssize_t i = 0; i < n; i++)
			if (buffer[i] != (from + i) % 251)
				die("byte %zu is wrong", from + i);
		from += n;
	}
}

static void stop_and_go(bool unix_socket)
{
	static int fds[PAIRS][2];
	size_t sent[PAIRS];

	for (int i = 0; i < PAIRS; i++) {
		make_pair(unix_socket, fds[i]);
		/* In the kernel's time, what is on its way may still move to the other side. */
		sent[i] = fill(fds[i][0], 0);
	}
	for (int i = 0; i < PAIRS; i++) {
		struct pollfd p = { .fd = fds[i][0], .events = POLLOUT };
		size_t more = fill(fds[i][0], sent[i]);

		if (must(poll(&p, 1, 0)) != 0)
			die("OUT without room: %x", p.revents);
		drain(fds[i][1], 0, more);
		wait_ready(fds[i][0], POLLOUT);
		size_t all = fill(fds[i][0], more);

		if (all == more)
			die("OUT, but nothing could be sent");
		drain(fds[i][1], more, all);
	}
	for (int i = 0; i < PAIRS; i++) {
		close(fds[i][0]);
		close(fds[i][1]);
	}
}

/* The child sends for ever; the peer closes with all of it unread. */
static void blocked_sender(bool unix_socket)
{
	int fds[2];
	struct timespec moment = { .tv_nsec = 20000000 };

	make_pair(unix_socket, fds);
	pid_t child = must(fork());

	if (child == 0) {
		char buffer[65536] = { 0 };

		close(fds[1]);
		while (send(fds[0], buffer, sizeof(buffer), MSG_NOSIGNAL) > 0)
			continue;
		_exit(errno == EPIPE || errno == ECONNRESET ? 0 : errno);
	}
	close(fds[0]);
	nanosleep(&moment, NULL);
	close(fds[1]);
	int status = end_of(child);

	if (status != 0)
		die("the blocked sender ended with status %x", status);
}

int main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : 1;

	for (int i = 0; i < rounds; i++) {
		stop_and_go(i % 2);
		blocked_sender(i % 2);
	}
	return 0;
}
