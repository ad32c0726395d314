/* SPDX-License-Identifier: MPL-2.0 */
/*
 * fd_exhaustion ROUNDS
 *
 * A server with room for few descriptors: accept() says EMFILE and the connection stays in the queue, the listener stays
 * readable, and with a descriptor free the same connection is accepted. recvmsg() with SCM_RIGHTS and no room drops the
 * descriptors and says MSG_CTRUNC.
 */
#include "faults.h"

enum { CLIENTS = 100, ROOM = 24 };

static void ask(const struct sockaddr_in *address)
{
	int fds[CLIENTS];
	char buffer[16];

	for (int i = 0; i < CLIENTS; i++) {
		fds[i] = must(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
		must(connect(fds[i], (const struct sockaddr *)address, sizeof(*address)));
	}
	for (int i = 0; i < CLIENTS; i++) {
		wait_ready(fds[i], POLLIN);
		if (must(recv(fds[i], buffer, sizeof(buffer), 0)) != 5)
			die("client %d was not served", i);
		close(fds[i]);
	}
}

static void serve(int listener)
{
	int held[ROOM], count = 0, exhausted = 0, served = 0;

	while (served < CLIENTS) {
		wait_ready(listener, POLLIN);
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

		if (fd < 0 && errno == EMFILE) {
			exhausted++;
			if (!(wait_ready(listener, POLLIN) & POLLIN))
				die("EMFILE took the connection");
			while (count > 0)
				close(held[--count]);
			continue;
		}
		must(fd);
		must(send(fd, "hello", 5, MSG_NOSIGNAL));
		held[count++] = fd;
		served++;
	}
	while (count > 0)
		close(held[--count]);
	if (exhausted < CLIENTS / ROOM)
		die("EMFILE only %d times", exhausted);
}

static void accept_without_room(void)
{
	struct sockaddr_in address;
	int listener = tcp_listener(CLIENTS, &address);
	pid_t client = must(fork());

	if (client == 0) {
		close(listener);
		ask(&address);
		_exit(0);
	}
	pid_t server = must(fork());

	if (server == 0) {
		raise_fd_limit(ROOM);
		serve(listener);
		_exit(0);
	}
	close(listener);
	if (end_of(server) != 0 || end_of(client) != 0)
		die("server or client failed");
}

static void receive_without_room(void)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int) * 8)];
		struct cmsghdr align;
	} control;
	struct iovec iov = { .iov_base = (char[1]){ 'x' }, .iov_len = 1 };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
	int pair[2], sent[8];
	struct rlimit old, tight;

	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(sent));
	for (int i = 0; i < 8; i++)
		sent[i] = pair[0];
	memcpy(CMSG_DATA(header), sent, sizeof(sent));
	must(sendmsg(pair[0], &message, 0));
	must(getrlimit(RLIMIT_NOFILE, &old));
	tight = old;
	/* Room for three more; the numbers below are taken. */
	int next = must(dup(0));

	close(next);
	tight.rlim_cur = next + 3;
	must(setrlimit(RLIMIT_NOFILE, &tight));
	message.msg_controllen = sizeof(control);
	must(recvmsg(pair[1], &message, 0));
	must(setrlimit(RLIMIT_NOFILE, &old));
	header = CMSG_FIRSTHDR(&message);
	if (!(message.msg_flags & MSG_CTRUNC) || !header || header->cmsg_len != CMSG_LEN(3 * sizeof(int)))
		die("eight descriptors into room for three: flags %x, length %zu", message.msg_flags,
		    header ? (size_t)header->cmsg_len : 0);
	memcpy(sent, CMSG_DATA(header), 3 * sizeof(int));
	for (int i = 0; i < 3; i++)
		close(sent[i]);
	close(pair[0]);
	close(pair[1]);
}

int main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : 1;

	for (int i = 0; i < rounds; i++) {
		accept_without_room();
		receive_without_room();
	}
	return 0;
}
