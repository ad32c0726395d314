/* SPDX-License-Identifier: MPL-2.0 */
/* What the programs of this directory share. Each takes a number of rounds, and exits with 0 if all was well. */
#ifndef FAULTS_H
#define FAULTS_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Seconds after which something that waits is taken for stuck. */
enum { PATIENCE = 120 };

#define die(...)                                                                  \
	do {                                                                      \
		int error_ = errno;                                               \
		printf("%s:%d: ", __FILE__, __LINE__);                            \
		printf(__VA_ARGS__);                                              \
		printf(" (errno %d: %s)\n", error_, strerror(error_));            \
		fflush(stdout);                                                   \
		_exit(1);                                                         \
	} while (0)

#define must(call)                                   \
	({                                           \
		__typeof__(call) result_ = (call);   \
		if (result_ < 0)                     \
			die("%s", #call);            \
		result_;                             \
	})

static inline struct sockaddr_in loopback(int port)
{
	return (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
}

/* A listener on a port of the kernel's choice. */
static inline int tcp_listener(int backlog, struct sockaddr_in *address)
{
	int fd = must(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
	socklen_t size = sizeof(*address);

	*address = loopback(0);
	must(bind(fd, (struct sockaddr *)address, size));
	must(listen(fd, backlog));
	must(getsockname(fd, (struct sockaddr *)address, &size));
	return fd;
}

static inline int wait_ready(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	if (must(poll(&p, 1, PATIENCE * 1000)) == 0)
		die("waited %d seconds for events %x", PATIENCE, events);
	return p.revents;
}

static inline void raise_fd_limit(rlim_t limit)
{
	struct rlimit r = { .rlim_cur = limit, .rlim_max = limit };

	must(setrlimit(RLIMIT_NOFILE, &r));
}

/* The exit status of `child`, which has PATIENCE seconds to end. */
static inline int end_of(pid_t child)
{
	int status;

	/* Its default action ends this process: a stuck child fails the test. */
	alarm(PATIENCE);
	must(waitpid(child, &status, 0));
	alarm(0);
	return status;
}

#endif
