/* Writes down, in the order in which they happen, every change that a process makes to files below POWER_CUT_ROOT:
 * loaded before libc (LD_PRELOAD), it calls the real function and appends what was done to POWER_CUT_LOG.
 *
 * One lock is held over the real call and the entry, so the order of entries is the order of effects. What this
 * cannot see (mmap, io_uring, direct system calls) neither the journal nor sled 0.34 uses; the reader of the log
 * checks that by comparing the files that the log leads to with those that are really there. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { CREATE = 1, WRITE, TRUNCATE, SYNC, RENAME, UNLINK, MKDIR, SYNC_RANGE, RMDIR };
struct entry { uint32_t what, path; uint64_t inode, offset, length; };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *root;
static size_t root_length;
static int log_fd = -1;
static unsigned char tracked[65536];

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static void put(const void *data, size_t length) {
  const char *at = data;
  while (length > 0) {
    long done = syscall(SYS_write, log_fd, at, length);
    if (done < 0) { if (errno == EINTR) continue; abort(); }
    at += done; length -= (size_t)done;
  }
}

__attribute__((constructor)) static void begin(void) {
  const char *path = getenv("POWER_CUT_LOG");
  root = getenv("POWER_CUT_ROOT");
  if (!path || !root) return;
  root_length = strlen(root);
  log_fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static int inside(const char *path) { return log_fd >= 0 && path && !strncmp(path, root, root_length); }
static int follows(int fd) { return fd >= 0 && fd < 65536 && tracked[fd]; }

static uint64_t inode(int fd) {
  struct stat found;
  return fstat(fd, &found) ? 0 : (uint64_t)found.st_ino;
}

static void note(uint32_t what, const char *path, const char *other, uint64_t ino, uint64_t offset, uint64_t length, const void *data) {
  int kept = errno;
  size_t first = path ? strlen(path) + 1 : 0, second = other ? strlen(other) + 1 : 0;
  struct entry entry = { what, (uint32_t)(first + second), ino, offset, length };
  put(&entry, sizeof entry);
  if (first) put(path, first);
  if (second) put(other, second);
  if (data) put(data, length);
  errno = kept;
}

static int opened(int fd, const char *path, int flags, int existed) {
  if (fd >= 0 && fd < 65536) {
    tracked[fd] = 1;
    if (!existed) note(CREATE, path, NULL, inode(fd), 0, 0, NULL);
    else if (flags & O_TRUNC) note(TRUNCATE, NULL, NULL, inode(fd), 0, 0, NULL);
  }
  return fd;
}

#define OPEN(name)                                                                  \
  int name(const char *path, int flags, ...) {                                      \
    va_list rest; va_start(rest, flags); mode_t mode = (mode_t)va_arg(rest, int); va_end(rest); \
    if (!inside(path)) return REAL(name)(path, flags, mode);                        \
    pthread_mutex_lock(&lock);                                                      \
    int existed = access(path, F_OK) == 0;                                          \
    int fd = opened(REAL(name)(path, flags, mode), path, flags, existed);           \
    pthread_mutex_unlock(&lock);                                                    \
    return fd;                                                                      \
  }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                                \
  int name(int at, const char *path, int flags, ...) {                              \
    va_list rest; va_start(rest, flags); mode_t mode = (mode_t)va_arg(rest, int); va_end(rest); \
    if (!inside(path)) return REAL(name)(at, path, flags, mode);                    \
    pthread_mutex_lock(&lock);                                                      \
    int existed = access(path, F_OK) == 0;                                          \
    int fd = opened(REAL(name)(at, path, flags, mode), path, flags, existed);       \
    pthread_mutex_unlock(&lock);                                                    \
    return fd;                                                                      \
  }
OPENAT(openat)
OPENAT(openat64)

int close(int fd) {
  if (fd >= 0 && fd < 65536) tracked[fd] = 0;
  return REAL(close)(fd);
}

#define PWRITE(name, off)                                                           \
  ssize_t name(int fd, const void *data, size_t length, off offset) {               \
    if (!follows(fd)) return REAL(name)(fd, data, length, offset);                  \
    pthread_mutex_lock(&lock);                                                      \
    ssize_t done = REAL(name)(fd, data, length, offset);                            \
    if (done > 0) note(WRITE, NULL, NULL, inode(fd), (uint64_t)offset, (uint64_t)done, data); \
    pthread_mutex_unlock(&lock);                                                    \
    return done;                                                                    \
  }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

ssize_t write(int fd, const void *data, size_t length) {
  if (!follows(fd)) return REAL(write)(fd, data, length);
  pthread_mutex_lock(&lock);
  ssize_t done = REAL(write)(fd, data, length);
  off_t end = lseek(fd, 0, SEEK_CUR);
  if (done > 0) note(WRITE, NULL, NULL, inode(fd), (uint64_t)end - (uint64_t)done, (uint64_t)done, data);
  pthread_mutex_unlock(&lock);
  return done;
}

#define FTRUNCATE(name, off)                                                        \
  int name(int fd, off length) {                                                    \
    if (!follows(fd)) return REAL(name)(fd, length);                                \
    pthread_mutex_lock(&lock);                                                      \
    int result = REAL(name)(fd, length);                                            \
    if (!result) note(TRUNCATE, NULL, NULL, inode(fd), (uint64_t)length, 0, NULL);  \
    pthread_mutex_unlock(&lock);                                                    \
    return result;                                                                  \
  }
FTRUNCATE(ftruncate, off_t)
FTRUNCATE(ftruncate64, off64_t)

#define SYNCS(name)                                                                 \
  int name(int fd) {                                                                \
    if (!follows(fd)) return REAL(name)(fd);                                        \
    pthread_mutex_lock(&lock);                                                      \
    int result = REAL(name)(fd);                                                    \
    if (!result) note(SYNC, NULL, NULL, inode(fd), 0, 0, NULL);                     \
    pthread_mutex_unlock(&lock);                                                    \
    return result;                                                                  \
  }
SYNCS(fsync)
SYNCS(fdatasync)

int sync_file_range(int fd, off64_t offset, off64_t length, unsigned flags) {
  if (!follows(fd)) return REAL(sync_file_range)(fd, offset, length, flags);
  pthread_mutex_lock(&lock);
  int result = REAL(sync_file_range)(fd, offset, length, flags);
  if (!result) note(SYNC_RANGE, NULL, NULL, inode(fd), 0, 0, NULL);
  pthread_mutex_unlock(&lock);
  return result;
}

int rename(const char *from, const char *to) {
  if (!inside(from)) return REAL(rename)(from, to);
  pthread_mutex_lock(&lock);
  int result = REAL(rename)(from, to);
  if (!result) note(RENAME, from, to, 0, 0, 0, NULL);
  pthread_mutex_unlock(&lock);
  return result;
}

#define NAMES(name, what)                                                           \
  int name(const char *path) {                                                      \
    if (!inside(path)) return REAL(name)(path);                                     \
    pthread_mutex_lock(&lock);                                                      \
    int result = REAL(name)(path);                                                  \
    if (!result) note(what, path, NULL, 0, 0, 0, NULL);                             \
    pthread_mutex_unlock(&lock);                                                    \
    return result;                                                                  \
  }
NAMES(unlink, UNLINK)
NAMES(rmdir, RMDIR)

int mkdir(const char *path, mode_t mode) {
  if (!inside(path)) return REAL(mkdir)(path, mode);
  pthread_mutex_lock(&lock);
  int result = REAL(mkdir)(path, mode);
  struct stat found;
  if (!result) note(MKDIR, path, NULL, stat(path, &found) ? 0 : (uint64_t)found.st_ino, 0, 0, NULL);
  pthread_mutex_unlock(&lock);
  return result;
}
