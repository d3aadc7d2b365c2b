/* Preloaded into the binary under test, to play a machine on which things go wrong.

   SHIM_CLOCK=FILE    the wall clock is off by the seconds that FILE holds, read anew at each look
   SHIM_BROKEN=FILE   while FILE exists, nothing below SHIM_DIR can be made, written, renamed or
                      removed; FILE holds the number of the error (30 EROFS, 28 ENOSPC, 5 EIO,
                      122 EDQUOT, 116 ESTALE)

   SHIM_HANGING=FILE  while FILE holds 1, whoever changes something below SHIM_DIR waits
   SHIM_DEAF=FILE     while FILE holds 1, every thread that reads from a socket waits, but for the
                      one that looks after the process; while it holds 2, the main thread reads on

   Clocks that count from the boot are left alone. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define REAL(name, type) static type real; if (!real) real = (type)dlsym(RTLD_NEXT, name)

typedef int (*open_type)(const char *, int, ...);

/* The number in the file that the variable names; `none` where there is no such file. */
static long number_in(const char *variable, long none) {
    const char *path = getenv(variable);
    if (!path) return none;
    int before = errno;
    REAL("open", open_type);
    int fd = real(path, O_RDONLY | O_CLOEXEC);
    char text[32] = {0};
    ssize_t length = -1;
    if (fd >= 0) {
        length = read(fd, text, sizeof text - 1);
        close(fd);
    }
    errno = before;
    return length > 0 ? atol(text) : none;
}

typedef int (*clock_type)(clockid_t, struct timespec *);

int clock_gettime(clockid_t clock, struct timespec *time) {
    REAL("clock_gettime", clock_type);
    int result = real(clock, time);
    if (!result && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        time->tv_sec += number_in("SHIM_CLOCK", 0);
    return result;
}

time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *out, void *zone) {
    (void)zone;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    out->tv_sec = now.tv_sec;
    out->tv_usec = now.tv_nsec / 1000;
    return 0;
}

static void wait_while(const char *variable) {
    while (number_in(variable, 0)) usleep(20000);
}

/* Whether the disk under `path` is broken now; sets errno then. */
static int broken(const char *path) {
    const char *dir = getenv("SHIM_DIR");
    if (!path || !dir || strncmp(path, dir, strlen(dir))) return 0;
    wait_while("SHIM_HANGING");
    long number = number_in("SHIM_BROKEN", 0);
    if (!number) return 0;
    errno = (int)number;
    return 1;
}

static int broken_descriptor(int fd) {
    if (fd <= 2 || !getenv("SHIM_DIR")) return 0;
    char link[64], path[1024];
    int before = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    errno = before;
    if (length <= 0) return 0;
    path[length] = 0;
    return broken(path);
}

#define OPENS(name) \
    int name(const char *path, int flags, ...) { \
        REAL(#name, open_type); \
        va_list rest; \
        va_start(rest, flags); \
        int mode = va_arg(rest, int); \
        va_end(rest); \
        if ((flags & (O_CREAT | O_WRONLY | O_RDWR)) && broken(path)) return -1; \
        return real(path, flags, mode); \
    }
OPENS(open)
OPENS(open64)

#define CHANGES(name, parameters, arguments, path) \
    int name parameters { \
        typedef int (*type) parameters; \
        REAL(#name, type); \
        return broken(path) ? -1 : real arguments; \
    }
CHANGES(mkdir, (const char *path, mode_t mode), (path, mode), path)
CHANGES(rename, (const char *from, const char *to), (from, to), from)
CHANGES(unlink, (const char *path), (path), path)
CHANGES(rmdir, (const char *path), (path), path)
CHANGES(symlink, (const char *target, const char *path), (target, path), path)

/* What is open already cannot be written any more either. */
#define WRITES(name, parameters, arguments) \
    ssize_t name parameters { \
        typedef ssize_t (*type) parameters; \
        REAL(#name, type); \
        return broken_descriptor(fd) ? -1 : real arguments; \
    }
WRITES(write, (int fd, const void *bytes, size_t count), (fd, bytes, count))
WRITES(writev, (int fd, const struct iovec *parts, int count), (fd, parts, count))
WRITES(pwrite64, (int fd, const void *bytes, size_t count, off64_t at), (fd, bytes, count, at))

ssize_t recv(int fd, void *bytes, size_t count, int flags) {
    typedef ssize_t (*type)(int, void *, size_t, int);
    REAL("recv", type);
    char name[16] = {0};
    prctl(PR_GET_NAME, name);
    int is_main = getpid() == (pid_t)syscall(SYS_gettid);
    if (strcmp(name, "process") && !(is_main && number_in("SHIM_DEAF", 0) == 2))
        wait_while("SHIM_DEAF");
    return real(fd, bytes, count, flags);
}
