/* SPDX-License-Identifier: MPL-2.0 */
/*
 * backlog ROUNDS
 *
 * More connections than the backlog holds, and nobody accepts: about as many as were asked for are established, the others
 * wait (TCP) or are told EAGAIN (unix, non-blocking), none is refused. When the server accepts, all are served.
 */
#include "faults.h"

/* On Linux those that find no room try again after 1, 3, 7... seconds, and five of them get in each time. */
enum { BACKLOG = 4, TCP_CLIENTS = 12, UNIX_CLIENTS = 40 };

static int events_of(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };

	must(poll(&p, 1, 0));
	return p.revents;
}

/* Accepts whatever comes until all clients have been greeted. */
static void accept_all(int listener, int count)
{
	for (int i = 0; i < count; i++) {
		wait_ready(listener, POLLIN);
		int fd = must(accept4(listener, NULL, NULL, SOCK_CLOEXEC));

		must(send(fd, "hello", 5, MSG_NOSIGNAL));
		close(fd);
	}
}

static void expect_greeting(int fd)
{
	char buffer[16];

	wait_ready(fd, POLLIN);
	if (must(recv(fd, buffer, sizeof(buffer), 0)) != 5)
		die("no greeting");
}

static void tcp(void)
{
	struct sockaddr_in address;
	int listener = tcp_listener(BACKLOG, &address), fds[TCP_CLIENTS], established = 0;
	struct timespec moment = { .tv_nsec = 50000000 };

	for (int i = 0; i < TCP_CLIENTS; i++) {
		fds[i] = must(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
		if (connect(fds[i], (struct sockaddr *)&address, sizeof(address)) < 0 && errno != EINPROGRESS)
			die("connect");
	}
	nanosleep(&moment, NULL);
	for (int i = 0; i < TCP_CLIENTS; i++) {
		int events = events_of(fds[i]);

		if (events & (POLLERR | POLLHUP))
			die("client %d was refused: %x", i, events);
		established += (events & POLLOUT) != 0;
	}
	/* Linux lets one more in, and one that has still to be completed. */
	if (established < BACKLOG || established > BACKLOG + 2)
		die("%d connections with a backlog of %d", established, BACKLOG);
	pid_t server = must(fork());

	if (server == 0) {
		accept_all(listener, TCP_CLIENTS);
		_exit(0);
	}
	close(listener);
	for (int i = 0; i < TCP_CLIENTS; i++) {
		expect_greeting(fds[i]);
		close(fds[i]);
	}
	if (end_of(server) != 0)
		die("the server failed");
}

static void unix_stream(void)
{
	struct sockaddr_storage address = { .ss_family = AF_UNIX };
	socklen_t size = sizeof(address);
	int listener = must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)), fds[UNIX_CLIENTS], established = 0;

	must(bind(listener, (struct sockaddr *)&address, sizeof(sa_family_t)));
	must(listen(listener, BACKLOG));
	must(getsockname(listener, (struct sockaddr *)&address, &size));
	for (int i = 0; i < UNIX_CLIENTS; i++) {
		fds[i] = must(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
		if (connect(fds[i], (struct sockaddr *)&address, size) == 0)
			established++;
		else if (errno != EAGAIN)
			die("connect");
	}
	if (established != BACKLOG + 1)
		die("%d unix connections with a backlog of %d", established, BACKLOG);
	/* The rest, each in a process that blocks in connect(). */
	for (int i = established; i < UNIX_CLIENTS; i++) {
		close(fds[i]);
		if (must(fork()) > 0)
			continue;
		fds[i] = must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
		must(connect(fds[i], (struct sockaddr *)&address, size));
		expect_greeting(fds[i]);
		_exit(0);
	}
	accept_all(listener, UNIX_CLIENTS);
	for (int i = 0; i < established; i++) {
		expect_greeting(fds[i]);
		close(fds[i]);
	}
	for (int i = established; i < UNIX_CLIENTS; i++)
		if (end_of(-1) != 0)
			die("a client failed");
	close(listener);
}

int main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : 1;

	for (int i = 0; i < rounds; i++) {
		tcp();
		unix_stream();
	}
	return 0;
}
