/* SPDX-License-Identifier: MPL-2.0 */
/* The machine's own affairs: file systems, terminals, power. */
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

/*
 * Mounts are best effort: a kernel may have done it itself (EBUSY), or have no such file system. /tmp and /run stay
 * plain directories of the root file system, which lives in memory anyway; mounting over them would hide packed files.
 */
static void mount_all(void)
{
	static const struct {
		const char *type, *target;
		unsigned long flags;
	} mounts[] = {
		{ "devtmpfs", "/dev", MS_NOSUID },
		{ "proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC },
		{ "sysfs", "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC },
		{ "tmpfs", "/dev/shm", MS_NOSUID | MS_NODEV },
		{ "devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC },
	};

	for (size_t i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++) {
		if (mkdir(mounts[i].target, 0755) < 0 && errno != EEXIST)
			continue;
		mount(mounts[i].type, mounts[i].target, mounts[i].type, mounts[i].flags, NULL);
	}
}

/* What udev would do. */
static void link_standard_streams(void)
{
	static const char *const links[][2] = {
		{ "/proc/self/fd", "/dev/fd" },
		{ "/proc/self/fd/0", "/dev/stdin" },
		{ "/proc/self/fd/1", "/dev/stdout" },
		{ "/proc/self/fd/2", "/dev/stderr" },
	};

	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
		if (symlink(links[i][0], links[i][1]) < 0)
			continue; /* the kernel's devfs may have them */
	}
}

/* A kernel may start init without standard streams; nothing of ours may land on a port by accident of numbering. */
static void ensure_standard_streams(void)
{
	int fd = open("/dev/null", O_RDWR);

	while (fd >= 0 && fd <= STDERR_FILENO)
		fd = dup(fd);
	if (fd > STDERR_FILENO)
		close(fd);
}

void set_up_machine(void)
{
	umask(022);
	mount_all();
	link_standard_streams();
	ensure_standard_streams();
}

int open_raw_port(const char *path)
{
	struct termios t;
	int fd = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (fd < 0 || tcgetattr(fd, &t) < 0)
		return fd;
	cfmakeraw(&t);
	t.c_cflag |= CLOCAL | CREAD;
	t.c_cc[VMIN] = 1;
	t.c_cc[VTIME] = 0;
	cfsetspeed(&t, B115200);
	tcsetattr(fd, TCSANOW, &t);
	return fd;
}

/* What a login terminal looks like. The host's own terminal is raw meanwhile: all editing and echoing is done here. */
void make_cooked(int fd, unsigned short rows, unsigned short cols)
{
	struct winsize size = { .ws_row = rows, .ws_col = cols };
	struct termios t;

	if (rows && cols)
		ioctl(fd, TIOCSWINSZ, &size);
	if (tcgetattr(fd, &t) < 0)
		return;
	t.c_iflag = ICRNL | IXON;
	t.c_oflag = OPOST | ONLCR;
	t.c_lflag = ISIG | ICANON | IEXTEN | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE;
	t.c_cflag |= CLOCAL | CREAD | CS8 | HUPCL;
	tcsetattr(fd, TCSANOW, &t);
}

void turn_off(void)
{
	reboot(RB_POWER_OFF);
	/* Not ours to power off? Then a restart, which the host's QEMU is told to take for the end. */
	reboot(RB_AUTOBOOT);
	for (;;)
		pause();
}
