/* SPDX-License-Identifier: MPL-2.0 */
/*
 * out_of_memory ROUNDS
 *
 * Programs that take all memory there is, in turn: by their pages, by page tables for pages of zeros, by bytes in sockets, and by
 * processes. The kernel has to end them or refuse, and everybody else goes on. After that there is as much memory to be had as before.
 *
 * Linux does not pass the part with the sockets, whose bytes weigh nothing there: it ends one process after another, and this one, too.
 */
#include "faults.h"

#include <sys/mman.h>

enum { PAGE = 4096, HUGE = 2 << 20, SOCKET_BYTES = 60000, PIPES = 64 };

/* How many pages take_pages() has got. */
static volatile size_t *pages_taken;

static char *map(size_t size, int protection)
{
	char *memory = mmap(NULL, size, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (memory != MAP_FAILED)
		madvise(memory, size, MADV_NOHUGEPAGE);
	return memory;
}

static void take_pages(void)
{
	const size_t size = 64 << 20;

	for (;;) {
		char *memory = map(size, PROT_READ | PROT_WRITE);

		if (memory == MAP_FAILED)
			continue;
		for (size_t at = 0; at < size; at += PAGE) {
			memory[at] = 1;
			++*pages_taken;
		}
	}
}

static void take_page_tables(void)
{
	const size_t size = (size_t)32 << 40;
	volatile char *memory = map(size, PROT_READ);

	if (memory == MAP_FAILED)
		die("mmap");
	for (size_t at = 0; at < size; at += HUGE)
		(void)memory[at];
}

/* A group of processes that ends when one of them has got all it could. */
static void in_group(int processes, void (*take)(void))
{
	int done[2];

	must(setpgid(0, 0));
	must(pipe(done));
	for (int i = 0; i < processes; i++)
		if (must(fork()) == 0) {
			close(done[0]);
			take();
			(void)!write(done[1], "", 1);
			pause();
		}
	close(done[1]);
	wait_ready(done[0], POLLIN);
	kill(0, SIGKILL);
}

/* Pipes that all write to: who waits for the page of one keeps the others from it. */
static int pipes[PIPES][2];

static void fill_sockets(void)
{
	static char bytes[SOCKET_BYTES];
	int pair[2];

	raise_fd_limit(200000);
	while (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0)
		for (int i = 0; i < 2; i++)
			(void)!write(pair[i], bytes, sizeof(bytes));
	for (int i = 0; i < PIPES; i++)
		(void)!write(pipes[i][1], "", 1);
}

static void take_sockets(void)
{
	for (int i = 0; i < PIPES; i++)
		must(pipe(pipes[i]));
	in_group(20, fill_sockets);
}

static void fork_on(void)
{
	for (;;) {
		pid_t child = fork();

		if (child < 0)
			return;
		if (child == 0)
			pause();
	}
}

static void take_processes(void)
{
	in_group(1, fork_on);
}

static void round_of(void (*take)(void), const char *name)
{
	pid_t child = must(fork());
	int status;

	if (child == 0) {
		take();
		_exit(0);
	}
	status = end_of(child);
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
		die("%s: status %x", name, status);
	/* What it leaves behind comes to an end, and then there is memory again. */
	for (int left = PATIENCE * 10;; left--) {
		char *memory = map(HUGE, PROT_READ | PROT_WRITE);

		child = memory == MAP_FAILED ? -1 : fork();
		if (child == 0) {
			memset(memory, 1, HUGE);
			_exit(0);
		}
		munmap(memory, HUGE);
		if (child > 0 && end_of(child) == 0)
			return;
		if (left == 0)
			die("no memory after %s", name);
		usleep(100000);
	}
}

static size_t all_pages(void)
{
	*pages_taken = 0;
	round_of(take_pages, "pages");
	return *pages_taken;
}

int main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : 1;
	size_t before, after;

	pages_taken = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (pages_taken == MAP_FAILED)
		die("mmap");
	before = all_pages();
	while (rounds-- > 0) {
		round_of(take_page_tables, "page tables");
		round_of(take_sockets, "sockets");
		round_of(take_processes, "processes");
		after = all_pages();
		if (after < before / 20 * 19)
			die("%zu pages of %zu are left", after, before);
	}
	return 0;
}
