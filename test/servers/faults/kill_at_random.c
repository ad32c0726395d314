/* SPDX-License-Identifier: MPL-2.0 */
/*
 * kill_at_random ROUNDS
 *
 * A server and a client with eight connections under load; one of them is killed by SIGKILL at a random moment. The other
 * must notice on every connection and end by itself. TCP and unix sockets take turns, and so do three kinds of clients:
 * one that blocks in recv(), one in poll(), one in epoll_wait().
 */
#include "faults.h"

enum { CONNECTIONS = 8 };

/* A round's listener: the kernel's choice of port, or an abstract name. */
static int listen_on(bool unix_socket, struct sockaddr_storage *address, socklen_t *size)
{
	int fd;

	if (!unix_socket) {
		*size = sizeof(struct sockaddr_in);
		return tcp_listener(64, (struct sockaddr_in *)address);
	}
	fd = must(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
	*size = sizeof(sa_family_t);
	address->ss_family = AF_UNIX;
	must(bind(fd, (struct sockaddr *)address, *size));
	must(listen(fd, 64));
	*size = sizeof(*address);
	must(getsockname(fd, (struct sockaddr *)address, size));
	return fd;
}

/* Whether the peer is gone; a wrong error is fatal. */
static bool is_gone(ssize_t result)
{
	if (result > 0 || (result < 0 && errno == EAGAIN))
		return false;
	if (result == 0 || errno == ECONNRESET || errno == EPIPE)
		return true;
	die("a dead peer was reported as");
}

/* Echoes until all connections have come and gone. */
static void serve(int listener)
{
	int epoll = must(epoll_create1(EPOLL_CLOEXEC)), accepted = 0, open = 0;
	struct epoll_event event = { .events = EPOLLIN, .data.fd = listener }, events[16];
	char buffer[4096];

	must(epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event));
	while (accepted == 0 || open > 0) {
		/* The client may have been killed before its first connection. */
		int n = must(epoll_wait(epoll, events, 16, accepted == 0 ? 5000 : PATIENCE * 1000));

		if (n == 0 && accepted > 0)
			die("the server was told nothing for %d seconds", PATIENCE);
		if (n == 0)
			return;
		for (int i = 0; i < n; i++) {
			int fd = events[i].data.fd;

			if (fd == listener) {
				fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
				if (fd < 0 && (errno == EAGAIN || errno == ECONNABORTED))
					continue;
				event.data.fd = must(fd);
				must(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
				accepted++;
				open++;
				continue;
			}
			ssize_t got = recv(fd, buffer, sizeof(buffer), 0);

			if (is_gone(got) || (got > 0 && is_gone(send(fd, buffer, got, MSG_NOSIGNAL)))) {
				close(fd);
				open--;
			}
		}
	}
}

static int connect_to(const struct sockaddr_storage *address, socklen_t size)
{
	int fd = must(socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));

	if (connect(fd, (const struct sockaddr *)address, size) == 0)
		return fd;
	if (errno != ECONNREFUSED && errno != ECONNRESET)
		die("connect");
	return -1;
}

static void talk(int fd, bool *gone)
{
	char buffer[1000] = { 1 };

	if (is_gone(recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT)) ||
	    is_gone(send(fd, buffer, sizeof(buffer), MSG_NOSIGNAL | MSG_DONTWAIT)))
		*gone = true;
}

/* Each connection is a child that blocks. */
static void ask_blocking(const int *fds, int count)
{
	for (int i = 0; i < count; i++) {
		if (must(fork()) > 0)
			continue;
		for (;;) {
			char buffer[1000] = { 1 };

			/* All of the client is to die together. */
			if (getppid() == 1)
				_exit(0);
			if (is_gone(send(fds[i], buffer, sizeof(buffer), MSG_NOSIGNAL)) ||
			    is_gone(recv(fds[i], buffer, sizeof(buffer), 0))) {
				/* The others have this connection as well. */
				shutdown(fds[i], SHUT_RDWR);
				_exit(0);
			}
		}
	}
	for (int i = 0; i < count; i++)
		close(fds[i]);
	for (int i = 0; i < count; i++) {
		int status;

		must(wait(&status));
		if (status != 0)
			_exit(1);
	}
}

static void ask_by_poll(const int *fds, int count)
{
	struct pollfd polled[CONNECTIONS];
	int open = count;

	for (int i = 0; i < count; i++)
		polled[i] = (struct pollfd){ .fd = fds[i], .events = POLLIN };
	for (int i = 0; i < count; i++)
		must(send(fds[i], "x", 1, MSG_NOSIGNAL) < 0 && errno != EPIPE && errno != ECONNRESET ? -1 : 0);
	while (open > 0) {
		if (must(poll(polled, count, PATIENCE * 1000)) == 0)
			die("poll() was told nothing for %d seconds", PATIENCE);
		for (int i = 0; i < count; i++) {
			bool gone = false;

			if (polled[i].revents)
				talk(polled[i].fd, &gone);
			if (gone) {
				close(polled[i].fd);
				polled[i].fd = -1;
				open--;
			}
		}
	}
}

static void ask_by_epoll(const int *fds, int count)
{
	int epoll = must(epoll_create1(EPOLL_CLOEXEC)), open = count;
	struct epoll_event event = { .events = EPOLLIN | EPOLLRDHUP | EPOLLET }, events[CONNECTIONS];

	for (int i = 0; i < count; i++) {
		event.data.fd = fds[i];
		must(epoll_ctl(epoll, EPOLL_CTL_ADD, fds[i], &event));
		must(send(fds[i], "x", 1, MSG_NOSIGNAL) < 0 && errno != EPIPE && errno != ECONNRESET ? -1 : 0);
	}
	while (open > 0) {
		int n = must(epoll_wait(epoll, events, CONNECTIONS, PATIENCE * 1000));

		if (n == 0)
			die("epoll_wait() was told nothing for %d seconds", PATIENCE);
		for (int i = 0; i < n; i++) {
			bool gone = (events[i].events & (EPOLLHUP | EPOLLERR)) != 0;

			talk(events[i].data.fd, &gone);
			if (gone) {
				close(events[i].data.fd);
				open--;
			}
		}
	}
}

static void ask(const struct sockaddr_storage *address, socklen_t size, int kind)
{
	static void (*const kinds[])(const int *, int) = { ask_blocking, ask_by_poll, ask_by_epoll };
	int fds[CONNECTIONS], count = 0;

	for (int i = 0; i < CONNECTIONS; i++) {
		int fd = connect_to(address, size);

		if (fd >= 0)
			fds[count++] = fd;
	}
	kinds[kind](fds, count);
}

/* Kills a whole client or server: it leads a process group of its own. */
static void kill_group(pid_t pid)
{
	if (kill(-pid, SIGKILL) < 0 && errno != ESRCH)
		die("kill");
}

static void round_of(int number)
{
	struct sockaddr_storage address = { 0 };
	socklen_t size;
	int listener = listen_on(number % 2, &address, &size);
	pid_t server = must(fork());

	if (server == 0) {
		setpgid(0, 0);
		serve(listener);
		_exit(0);
	}
	setpgid(server, server);
	close(listener);
	pid_t client = must(fork());

	if (client == 0) {
		setpgid(0, 0);
		ask(&address, size, number % 3);
		_exit(0);
	}
	setpgid(client, client);
	struct timespec moment = { .tv_nsec = rand() % 30 * 1000000L + rand() % 1000000 };
	bool kills_server = rand() % 2;
	pid_t victim = kills_server ? server : client, survivor = kills_server ? client : server;

	nanosleep(&moment, NULL);
	kill_group(victim);
	int status = end_of(survivor);

	if (status != 0)
		die("round %d: the %s ended with status %x", number, kills_server ? "client" : "server", status);
	end_of(victim);
}

int main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : 50;

	srand(argc > 2 ? atoi(argv[2]) : 1);
	for (int i = 0; i < rounds; i++)
		round_of(i);
	return 0;
}
