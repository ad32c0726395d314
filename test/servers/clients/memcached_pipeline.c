/* SPDX-License-Identifier: MPL-2.0 */
/*
 * memcached_pipeline PORT CONNECTIONS DEPTH SECONDS
 *
 * A client of memcached's text protocol: on each connection DEPTH requests are sent at once, half of them `set`, half
 * `get` of what was just set, and every byte of the answer is checked. One thread, edge-triggered epoll. Prints how many
 * requests were answered; fails if one was not, or was answered wrongly.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BUFFER 65536

struct connection {
	int fd;
	unsigned round;
	char request[BUFFER], expected[BUFFER], answer[BUFFER];
	size_t request_size, sent, expected_size, received;
};

static void die(const char *what)
{
	printf("%s: %s\n", what, strerror(errno));
	exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

/* Values of different lengths, from a few bytes to more than a page now and then. */
static void make_round(struct connection *c, int number, int depth)
{
	char value[5000];

	c->request_size = c->sent = c->expected_size = c->received = 0;
	c->round++;
	for (int i = 0; i < depth / 2; i++) {
		size_t size = 8 + (c->round * 37 + i * 11) % 200 + (i == 0 && c->round % 16 == 0 ? 4096 : 0);

		memset(value, 'a' + (c->round + i) % 26, size);
		value[size] = '\0';
		c->request_size += sprintf(c->request + c->request_size, "set k%d.%d 0 0 %zu\r\n%s\r\nget k%d.%d\r\n", number, i,
					   size, value, number, i);
		c->expected_size += sprintf(c->expected + c->expected_size, "STORED\r\nVALUE k%d.%d 0 %zu\r\n%s\r\nEND\r\n",
					    number, i, size, value);
	}
}

static void send_more(struct connection *c)
{
	while (c->sent < c->request_size) {
		ssize_t n = send(c->fd, c->request + c->sent, c->request_size - c->sent, MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0)
			die("send");
		c->sent += n;
	}
}

/* Returns whether the whole answer has come. */
static int receive_more(struct connection *c)
{
	for (;;) {
		ssize_t n = recv(c->fd, c->answer + c->received, BUFFER - c->received, 0);

		if (n < 0 && errno == EAGAIN)
			break;
		if (n <= 0)
			die(n < 0 ? "recv" : "the server hung up");
		c->received += n;
		if (c->received > c->expected_size || memcmp(c->answer, c->expected, c->received) != 0) {
			printf("wrong answer in round %u\n", c->round);
			exit(1);
		}
	}
	return c->received == c->expected_size;
}

static int connect_to(int port)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		die("socket");
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 && errno != EINPROGRESS)
		die("connect");
	return fd;
}

int main(int argc, char **argv)
{
	if (argc != 5)
		return 2;
	int port = atoi(argv[1]), count = atoi(argv[2]), depth = atoi(argv[3]), epoll = epoll_create1(EPOLL_CLOEXEC);
	double begun = now(), deadline = begun + atof(argv[4]);
	struct connection *connections = calloc(count, sizeof(*connections));
	struct epoll_event events[64];
	unsigned long answered = 0;
	int busy = count;

	for (int i = 0; i < count; i++) {
		struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLET, .data.u32 = i };

		connections[i].fd = connect_to(port);
		make_round(&connections[i], i, depth);
		if (epoll_ctl(epoll, EPOLL_CTL_ADD, connections[i].fd, &event) < 0)
			die("epoll_ctl");
	}
	while (busy > 0) {
		int n = epoll_wait(epoll, events, 64, 60000);

		if (n <= 0)
			die(n < 0 ? "epoll_wait" : "no answer for a minute");
		for (int i = 0; i < n; i++) {
			struct connection *c = &connections[events[i].data.u32];

			if (events[i].events & EPOLLOUT)
				send_more(c);
			while (c->fd >= 0 && receive_more(c)) {
				answered += depth / 2 * 2;
				if (now() >= deadline) {
					close(c->fd);
					c->fd = -1;
					busy--;
					break;
				}
				make_round(c, events[i].data.u32, depth);
				send_more(c);
			}
		}
	}
	printf("%lu requests, %.0f per second\n", answered, answered / (now() - begun));
	return 0;
}
