/* SPDX-License-Identifier: MPL-2.0 */
/*
 * rights_cycles ROUNDS
 *
 * Unix sockets sent through each other and then closed: nobody can receive them any more, and only a garbage collector can
 * free them. A pipe's write end travels with each; its reader must be told HUP.
 */
#include "faults.h"

static void send_fds(int through, const int *fds, int count)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int) * 4)];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { .iov_base = (char[1]){ 'x' }, .iov_len = 1 };
	struct msghdr message = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = CMSG_SPACE(sizeof(int) * count),
	};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int) * count);
	memcpy(CMSG_DATA(header), fds, sizeof(int) * count);
	must(sendmsg(through, &message, MSG_NOSIGNAL));
}

/* `length` pairs: the near end of each goes through the next, with a pipe's write end in the first. */
static int make_cycle(int length, int type)
{
	int pairs[8][2], pipe_ends[2];

	must(pipe2(pipe_ends, O_CLOEXEC));
	for (int i = 0; i < length; i++)
		must(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pairs[i]));
	for (int i = 0; i < length; i++) {
		int cargo[2] = { pairs[i][1], pipe_ends[1] };

		/* What is sent to [0] of the next waits in the queue of its [1]. */
		send_fds(pairs[(i + 1) % length][0], cargo, i == 0 ? 2 : 1);
	}
	for (int i = 0; i < length; i++) {
		close(pairs[i][0]);
		close(pairs[i][1]);
	}
	close(pipe_ends[1]);
	return pipe_ends[0];
}

/* A listener whose queue holds a connection that carries the listener itself. */
static int make_embryo(void)
{
	struct sockaddr_storage address = { .ss_family = AF_UNIX };
	socklen_t size = sizeof(address);
	int listener = must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)), pipe_ends[2];
	int client = must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));

	must(pipe2(pipe_ends, O_CLOEXEC));
	must(bind(listener, (struct sockaddr *)&address, sizeof(sa_family_t)));
	must(listen(listener, 4));
	must(getsockname(listener, (struct sockaddr *)&address, &size));
	must(connect(client, (struct sockaddr *)&address, size));
	send_fds(client, (int[]){ listener, pipe_ends[1] }, 2);
	close(client);
	close(listener);
	close(pipe_ends[1]);
	return pipe_ends[0];
}

static void expect_collected(int reader)
{
	int revents = wait_ready(reader, POLLIN);

	if (!(revents & POLLHUP))
		die("events %x", revents);
	close(reader);
}

int main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : 100;
	static const int types[] = { SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET };

	for (int i = 0; i < rounds; i++) {
		int readers[2] = { make_cycle(1 + i % 8, types[i % 3]), make_embryo() };

		/* Linux collects when a unix socket is closed. */
		close(must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)));
		expect_collected(readers[0]);
		expect_collected(readers[1]);
	}
	return 0;
}
