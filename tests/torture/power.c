/* Loaded into the program with LD_PRELOAD. Keeps a log from which a test can undo every write that was not synced
   when the power went off, and ends the program at a given call.

   POWER_DIR   files right in this folder are watched (but for shared memory, logs and the clock)
   POWER_LOG   where the log goes: what a power cut may take back
   POWER_AT    SIGKILL at the so-manyth call: writes and syncs of watched files, and whatever goes out to a socket;
               an even number ends the program before the call, an odd one after it

   A write is logged, with what it overwrites, before it is done; a sync after it came back. Both happen under one
   lock, so that the order in the log is the order in the file. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

struct record {
    uint32_t kind, name;
    uint64_t at, old, length, size;
};
enum { WRITE = 1, TRUNCATE = 2, SYNC = 3 };

static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;
static atomic_long calls;
static long end_at;
static int log_fd = -1;
static char dir[512];
static size_t dir_length;

__attribute__((constructor)) static void start(void) {
    const char *d = getenv("POWER_DIR"), *l = getenv("POWER_LOG"), *a = getenv("POWER_AT");
    if (a) end_at = atol(a);
    if (!d || !l || strlen(d) >= sizeof dir - 1) return;
    strcpy(dir, d);
    dir_length = strlen(dir);
    log_fd = syscall(SYS_openat, AT_FDCWD, l, O_CREAT | O_APPEND | O_WRONLY | O_CLOEXEC, 0600);
}

static void die(void) { syscall(SYS_kill, syscall(SYS_getpid), SIGKILL); for (;;) pause(); }

/* Counts a call; whether the program is to end after it. */
static int count(void) {
    if (!end_at) return 0;
    long n = atomic_fetch_add(&calls, 1) + 1;
    if (n == end_at && n % 2 == 0) die();
    return n == end_at;
}

/* The name of a watched file, or NULL. */
static const char *watched(int fd, char *path, size_t room) {
    char link[64];
    if (log_fd < 0 || fd < 3 || fd == log_fd) return NULL;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    long n = syscall(SYS_readlinkat, AT_FDCWD, link, path, room - 1);
    if (n <= (long)dir_length + 1) return NULL;
    path[n] = 0;
    if (strncmp(path, dir, dir_length) || path[dir_length] != '/') return NULL;
    const char *name = path + dir_length + 1;
    if (strchr(name, '/') || name[0] == '.' || !strncmp(name, "log-", 4)) return NULL;
    return n > 4 && !strcmp(path + n - 4, "-shm") ? NULL : name;
}

static int is_socket(int fd) {
    struct stat st;
    return fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
}

static uint64_t size_of(int fd) {
    struct stat st;
    return fstat(fd, &st) ? 0 : (uint64_t)st.st_size;
}

static void note(int kind, const char *name, int fd, uint64_t at, uint64_t length) {
    uint64_t size = size_of(fd), old = at < size ? size - at : 0;
    if (old > length) old = length;
    if (kind == SYNC) old = 0;
    struct record r = { kind, (uint32_t)strlen(name), at, old, length, size };
    size_t total = sizeof r + r.name + old;
    char *all = malloc(total);
    if (!all) die();
    memcpy(all, &r, sizeof r);
    memcpy(all + sizeof r, name, r.name);
    if (old && syscall(SYS_pread64, fd, all + sizeof r + r.name, old, at) != (long)old) {
        /* Opened for writing only: read it through another descriptor. */
        char link[64];
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        int other = syscall(SYS_openat, AT_FDCWD, link, O_RDONLY | O_CLOEXEC, 0);
        if (other < 0 || syscall(SYS_pread64, other, all + sizeof r + r.name, old, at) != (long)old) die();
        syscall(SYS_close, other);
    }
    if (syscall(SYS_write, log_fd, all, total) != (long)total) die();
    free(all);
}

static ssize_t put(int fd, const void *bytes, size_t length, off64_t at, int placed) {
    char path[4096];
    const char *name = watched(fd, path, sizeof path);
    int last = name || is_socket(fd) ? count() : 0;
    ssize_t done;
    if (name) {
        pthread_mutex_lock(&order);
        int append = fcntl(fd, F_GETFL) & O_APPEND;
        uint64_t where = placed ? (uint64_t)at : append ? size_of(fd) : (uint64_t)lseek64(fd, 0, SEEK_CUR);
        note(WRITE, name, fd, where, length);
    }
    done = placed ? syscall(SYS_pwrite64, fd, bytes, length, at) : syscall(SYS_write, fd, bytes, length);
    int error = errno;
    if (name) pthread_mutex_unlock(&order);
    if (last) die();
    errno = error;
    return done;
}

ssize_t write(int fd, const void *b, size_t n) { return put(fd, b, n, 0, 0); }
ssize_t pwrite(int fd, const void *b, size_t n, off_t at) { return put(fd, b, n, at, 1); }
ssize_t pwrite64(int fd, const void *b, size_t n, off64_t at) { return put(fd, b, n, at, 1); }

static int cut(int fd, off64_t length) {
    char path[4096];
    const char *name = watched(fd, path, sizeof path);
    int last = name ? count() : 0;
    if (name) {
        pthread_mutex_lock(&order);
        note(TRUNCATE, name, fd, length, UINT64_MAX);
    }
    int done = syscall(SYS_ftruncate, fd, length), error = errno;
    if (name) pthread_mutex_unlock(&order);
    if (last) die();
    errno = error;
    return done;
}

int ftruncate(int fd, off_t length) { return cut(fd, length); }
int ftruncate64(int fd, off64_t length) { return cut(fd, length); }

static int sync_file(int fd, long number) {
    char path[4096];
    const char *name = watched(fd, path, sizeof path);
    int last = name ? count() : 0;
    if (name) pthread_mutex_lock(&order);
    int done = syscall(number, fd), error = errno;
    if (name) {
        if (done == 0) note(SYNC, name, fd, 0, 0);
        pthread_mutex_unlock(&order);
    }
    if (last) die();
    errno = error;
    return done;
}

int fsync(int fd) { return sync_file(fd, SYS_fsync); }
int fdatasync(int fd) { return sync_file(fd, SYS_fdatasync); }

ssize_t send(int fd, const void *b, size_t n, int flags) {
    int last = count();
    ssize_t done = syscall(SYS_sendto, fd, b, n, flags, NULL, 0);
    int error = errno;
    if (last) die();
    errno = error;
    return done;
}

ssize_t writev(int fd, const struct iovec *v, int n) {
    /* Sockets and logs only: no watched file is written so. */
    int last = is_socket(fd) ? count() : 0;
    ssize_t done = syscall(SYS_writev, fd, v, n);
    int error = errno;
    if (last) die();
    errno = error;
    return done;
}
