/* SPDX-License-Identifier: MPL-2.0 */
/*
 * many_sockets ROUNDS
 *
 * 20 000 sockets open at once in one epoll, 10 000 TCP connections and then 10 000 pairs of unix sockets. A hundred of
 * them are written to; exactly their peers are reported.
 */
#include "faults.h"

enum { PAIRS = 10000, SOME = 100 };

static int fds[PAIRS][2];

static void open_tcp(void)
{
	struct sockaddr_in address;
	struct linger at_once = { .l_onoff = 1 };
	int listener = tcp_listener(128, &address);

	for (int i = 0; i < PAIRS; i++) {
		fds[i][0] = must(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
		must(connect(fds[i][0], (struct sockaddr *)&address, sizeof(address)));
		wait_ready(listener, POLLIN);
		fds[i][1] = must(accept4(listener, NULL, NULL, SOCK_CLOEXEC));
	}
	close(listener);
	/* They end by a reset: TIME_WAIT would take memory for a minute, which is not what this is about. */
	for (int i = 0; i < PAIRS; i++)
		must(setsockopt(fds[i][0], SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)));
}

static void open_unix(void)
{
	for (int i = 0; i < PAIRS; i++)
		must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds[i]));
}

static void use(void)
{
	int epoll = must(epoll_create1(EPOLL_CLOEXEC)), reported = 0;
	struct epoll_event event = { .events = EPOLLIN }, events[SOME];

	for (int i = 0; i < PAIRS; i++) {
		event.data.u32 = i;
		must(epoll_ctl(epoll, EPOLL_CTL_ADD, fds[i][1], &event));
		/* The other sides are there as well, so that all 20 000 are watched. */
		event.data.u32 = PAIRS + i;
		must(epoll_ctl(epoll, EPOLL_CTL_ADD, fds[i][0], &event));
	}
	if (must(epoll_wait(epoll, events, SOME, 0)) != 0)
		die("idle sockets are reported");
	for (int i = 0; i < SOME; i++)
		must(send(fds[i * (PAIRS / SOME)][0], "x", 1, MSG_NOSIGNAL));
	while (reported < SOME) {
		int n = must(epoll_wait(epoll, events, SOME, PATIENCE * 1000));
		char byte;

		if (n == 0)
			die("%d of %d reported", reported, SOME);
		for (int i = 0; i < n; i++) {
			if (events[i].data.u32 >= PAIRS || events[i].data.u32 % (PAIRS / SOME) != 0)
				die("socket %u is reported", events[i].data.u32);
			must(recv(fds[events[i].data.u32][1], &byte, 1, MSG_DONTWAIT));
			reported++;
		}
	}
	if (must(epoll_wait(epoll, events, SOME, 0)) != 0)
		die("drained sockets are reported");
	for (int i = 0; i < PAIRS; i++) {
		close(fds[i][0]);
		close(fds[i][1]);
	}
	close(epoll);
}

int main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : 1;

	raise_fd_limit(2 * PAIRS + 100);
	for (int i = 0; i < rounds; i++) {
		open_tcp();
		use();
		open_unix();
		use();
	}
	return 0;
}
