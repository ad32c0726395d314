/* SPDX-License-Identifier: MPL-2.0 */
/* Reads the job that the host packed into the image. */
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The whole file with a NUL behind it, or NULL with errno set. */
static char *slurp(const char *path, size_t *size)
{
	struct stat st;
	size_t done = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return NULL;
	char *text = fstat(fd, &st) == 0 ? malloc((size_t)st.st_size + 1) : NULL;

	while (text && done < (size_t)st.st_size) {
		ssize_t n = read(fd, text + done, (size_t)st.st_size - done);

		if (n <= 0)
			break;
		done += (size_t)n;
	}
	close(fd);
	if (text)
		text[done] = '\0';
	*size = done;
	return text;
}

static char *value_of(char *record, const char *key)
{
	size_t length = strlen(key);

	if (strncmp(record, key, length) != 0 || record[length] != '=')
		return NULL;
	return record + length + 1;
}

static void take_record(struct job *job, char *record, size_t *args, size_t *envs)
{
	char *value;

	if ((value = value_of(record, "arg")))
		job->argv[(*args)++] = value;
	else if ((value = value_of(record, "env")))
		job->envp[(*envs)++] = value;
	else if ((value = value_of(record, "argv0")))
		job->argv0 = value;
	else if ((value = value_of(record, "cwd")))
		job->cwd = value;
	else if ((value = value_of(record, "tty")))
		job->terminal = *value == '1';
	else if ((value = value_of(record, "rows")))
		job->rows = (unsigned short)atoi(value);
	else if ((value = value_of(record, "cols")))
		job->cols = (unsigned short)atoi(value);
}

/* Fills `job`. Returns NULL, or what is wrong. */
const char *read_job(struct job *job)
{
	size_t size = 0, records = 0, args = 0, envs = 0;
	char *text = slurp(JOB_FILE, &size);

	if (!text)
		return strerror(errno);
	for (size_t i = 0; i < size; i++)
		records += text[i] == '\0';
	job->argv = calloc(records + 1, sizeof(char *));
	job->envp = calloc(records + 1, sizeof(char *));
	if (!job->argv || !job->envp)
		return strerror(ENOMEM);
	for (char *record = text; record < text + size; record += strlen(record) + 1)
		take_record(job, record, &args, &envs);
	return args > 0 ? NULL : "names no program";
}
