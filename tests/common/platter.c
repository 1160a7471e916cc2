/* A disk that loses power: what a process has forced to the disk, and nothing else, kept in the directory PLATTER.
 *
 * Loaded by LD_PRELOAD. fsync and fdatasync of a file copy what it holds at that moment to `<id>.file`; fsync of a directory
 * writes its entries to `<id>.dir`, a line each: id, type, name. The id is inode and time of birth, as inodes are used again.
 * Names that contain a line break are not expected. With PLATTER_DELAY_MS each takes so much longer. */

#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Writes "<inode>-<birth in ns>"; returns the type (S_IFMT), 0 if it is gone. */
static int identify(int dir, const char *name, int flags, char *id, size_t size) {
    struct statx at;
    if (statx(dir, name, flags, STATX_BASIC_STATS | STATX_BTIME, &at) != 0) return 0;
    snprintf(id, size, "%llu-%lld", (unsigned long long)at.stx_ino,
             (at.stx_mask & STATX_BTIME) ? at.stx_btime.tv_sec * 1000000000LL + at.stx_btime.tv_nsec : 0LL);
    return at.stx_mode & S_IFMT;
}

static int keep_file(int from, FILE *to) {
    char buffer[1 << 16];
    ssize_t count;
    while ((count = read(from, buffer, sizeof buffer)) > 0)
        if (fwrite(buffer, 1, (size_t)count, to) != (size_t)count) return -1;
    return count < 0 ? -1 : 0;
}

static int keep_dir(int from, FILE *to) {
    DIR *dir = fdopendir(dup(from));
    struct dirent *entry;
    if (!dir) return -1;
    rewinddir(dir);
    while ((entry = readdir(dir))) {
        char id[64];
        int type;
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        type = identify(dirfd(dir), entry->d_name, AT_SYMLINK_NOFOLLOW, id, sizeof id);
        if (type) fprintf(to, "%s %s %s\n", id, type == S_IFDIR ? "dir" : "file", entry->d_name);
    }
    closedir(dir);
    return 0;
}

static void keep(int fd) {
    const char *platter = getenv("PLATTER"), *delay = getenv("PLATTER_DELAY_MS");
    char id[64], self[64], staged[4096], final[4096];
    static _Atomic unsigned counter;
    int type, from, failed;
    FILE *to;
    if (!platter) return;
    if (delay) usleep((useconds_t)atoi(delay) * 1000);
    type = identify(fd, "", AT_EMPTY_PATH, id, sizeof id);
    if (type != S_IFREG && type != S_IFDIR) return;
    /* It may have been opened for writing only. */
    snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    from = open(self, O_RDONLY | O_CLOEXEC);
    snprintf(final, sizeof final, "%s/%s.%s", platter, id, type == S_IFDIR ? "dir" : "file");
    snprintf(staged, sizeof staged, "%s/%d-%u.staged", platter, getpid(), counter++);
    to = fopen(staged, "we");
    failed = from < 0 || !to || (type == S_IFDIR ? keep_dir(from, to) : keep_file(from, to));
    if (to && fclose(to)) failed = 1;
    if (from >= 0) close(from);
    /* A platter that lacks something would make the recorder look bad for nothing. */
    if (failed || rename(staged, final)) {
        perror("platter");
        abort();
    }
}

int fsync(int fd) {
    int result = (int)syscall(SYS_fsync, fd);
    if (result == 0) keep(fd);
    return result;
}

int fdatasync(int fd) {
    int result = (int)syscall(SYS_fdatasync, fd);
    if (result == 0) keep(fd);
    return result;
}

/* Nobody uses these, and they are not understood. */
int syncfs(int fd) { (void)fd; abort(); }
int sync_file_range(int fd, off64_t offset, off64_t count, unsigned flags) {
    (void)fd, (void)offset, (void)count, (void)flags;
    abort();
}
