/* Becomes somebody, tells who it is, and makes things in every way that the kernel has. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

/* As in linux/openat2.h, which musl's compiler does not find. */
struct open_how { unsigned long long flags, mode, resolve; };

static void told(void) {
    uid_t r, e, s; gid_t a, b, c; gid_t groups[64];
    int i, count = getgroups(64, groups);
    getresuid(&r, &e, &s); getresgid(&a, &b, &c);
    printf("%d %d %d / %d %d %d / %d %d %d %d /", r, e, s, a, b, c, getuid(), geteuid(), getgid(), getegid());
    for (i = 0; i < count; i++) printf(" %d", groups[i]);
    printf("\n");
    fflush(stdout);
}

static void *thread(void *path) {
    close(open(path, O_CREAT | O_WRONLY, 0640));
    return 0;
}

/* Two threads make the same directories and something in them, as fast as they can. */
static void *race(void *directory) {
    char path[4096];
    int i;
    for (i = 0; i < 300; i++) {
        sprintf(path, "%s/%d/sub", (char *) directory, i);
        if (mkdir(path, 0755) < 0) { *strrchr(path, '/') = 0; mkdir(path, 0755); strcat(path, "/sub"); mkdir(path, 0755); }
        strcat(path, "/file");
        close(open(path, O_CREAT | O_WRONLY, 0644));
    }
    return 0;
}

static void make(const char *directory) {
    struct open_how how = { .flags = O_CREAT | O_WRONLY, .mode = 0600 };
    pthread_t other;
    char open_file[64];
    int file;
    mkdir(directory, 0755);
    chdir(directory);
    close(creat("creat", 0644));
    close(open("excl", O_CREAT | O_EXCL | O_RDWR, 0644));
    close(openat(AT_FDCWD, "openat", O_CREAT | O_TRUNC | O_WRONLY, 0644));
    close(syscall(SYS_openat2, AT_FDCWD, "openat2", &how, sizeof how));
    file = open(".", O_TMPFILE | O_WRONLY, 0644);
    sprintf(open_file, "/proc/self/fd/%d", file);
    linkat(AT_FDCWD, open_file, AT_FDCWD, "unnamed", AT_SYMLINK_FOLLOW);
    close(file);
    file = open("first", O_CREAT | O_WRONLY, 0644);
    rename("first", "renamed");
    close(file);
    link("renamed", "linked");
    mkdirat(AT_FDCWD, "directory", 0711);
    symlinkat("target", AT_FDCWD, "symlink");
    mknodat(AT_FDCWD, "regular", S_IFREG | 0644, 0);
    mkfifo("fifo", 0644);
    pthread_create(&other, 0, thread, "thread");
    pthread_join(other, 0);
    if (fork() == 0) { thread("child"); _exit(0); }
    wait(0);
    if (vfork() == 0) { execl("/proc/self/exe", "actor", "touch", "executed", (char *) 0); _exit(9); }
    wait(0);
}

/* An access or default ACL that lets one user and one group write. */
static int acl(const char *path, const char *kind, unsigned user) {
    struct { unsigned version; struct { unsigned short tag, perm; unsigned id; } entries[6]; } value = { 2, {
        { 1, 7, -1 }, { 2, 6, user }, { 4, 5, -1 }, { 8, 6, user + 1 }, { 16, 7, -1 }, { 32, 4, -1 } } };
    return setxattr(path, kind, &value, sizeof value, 0);
}

/* Which ways to change modes and times are refused, a bit for each. */
static int times(const char *path) {
    struct timespec now[2] = { { 0, UTIME_NOW }, { 0, UTIME_NOW } }, kept[2] = { { 0, UTIME_OMIT }, { 0, UTIME_OMIT } };
    struct timespec half[2] = { { 0, UTIME_NOW }, { 0, UTIME_OMIT } };
    int file = open(path, O_RDONLY), refused = 0;
    if (utimensat(AT_FDCWD, path, now, 0)) refused |= 1;
    if (utimensat(AT_FDCWD, path, kept, 0)) refused |= 2;
    if (utimensat(AT_FDCWD, path, half, 0)) refused |= 4;
    if (futimens(file, 0)) refused |= 8;
    if (futimens(file, half)) refused |= 16;
    if (fchmod(file, 0666)) refused |= 32;
    if (fchmodat(AT_FDCWD, path, 0666, 0)) refused |= 64;
    return refused;
}

static void peer(void) {
    struct sockaddr_un address = { AF_UNIX, "/tmp/.peer" };
    struct ucred peer;
    socklen_t length = sizeof peer;
    int server = socket(AF_UNIX, SOCK_STREAM, 0), other;
    bind(server, (void *) &address, sizeof address);
    chmod("/tmp/.peer", 0777);
    listen(server, 1);
    if (fork() == 0) {
        other = socket(AF_UNIX, SOCK_STREAM, 0);
        setgroups(0, 0); setgid(1000); setuid(1000);
        connect(other, (void *) &address, sizeof address);
        getsockopt(other, SOL_SOCKET, SO_PEERCRED, &peer, &length);
        printf("server %d:%d\n", peer.uid, peer.gid);
        fflush(stdout);
        write(other, "x", 1);
        pause();
    }
    other = accept(server, 0, 0);
    read(other, &peer, 1);
    getsockopt(other, SOL_SOCKET, SO_PEERCRED, &peer, &length);
    kill(peer.pid, 9);
    wait(0);
    printf("client %d:%d %d\n", peer.uid, peer.gid, length);
    unlink("/tmp/.peer");
}

int main(int count, char **words) {
    char *what = words[1];
    gid_t groups[2];
    if (!strcmp(what, "told")) told();
    if (!strcmp(what, "make")) make(words[2]);
    if (!strcmp(what, "touch")) thread(words[2]);
    if (!strcmp(what, "try")) { execl(words[2], words[2], "told", (char *) 0); told(); }
    if (!strcmp(what, "for-nothing")) {
        seteuid(atoi(words[2])); execl(words[3], words[3], (char *) 0);
        seteuid(0); told();
    }
    if (!strcmp(what, "sleep")) sleep(60);
    if (!strcmp(what, "race")) {
        pthread_t threads[4];
        int i;
        mkdir(words[2], 0755);
        for (i = 0; i < 4; i++) pthread_create(&threads[i], 0, race, words[2]);
        for (i = 0; i < 4; i++) pthread_join(threads[i], 0);
    }
    if (!strcmp(what, "peer")) peer();
    if (!strcmp(what, "times")) return times(words[2]);
    if (!strcmp(what, "attribute")) return setxattr(words[2], "user.actor", "x", 1, 0) != 0;
    if (!strcmp(what, "acl")) return acl(words[2], words[3], atoi(words[4])) != 0;
    if (!strcmp(what, "fsuid")) {
        setfsgid(atoi(words[2])); setfsuid(atoi(words[2]));
        printf("%d\n", setfsuid(-1));
        thread(words[3]);
    }
    if (!strcmp(what, "limits")) {
        struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };
        int i;
        for (i = 0; i < RLIM_NLIMITS; i++) if (getrlimit(i, &limit) == 0) setrlimit(i, &limit);
    }
    if (!strcmp(what, "for-a-while")) {
        seteuid(atoi(words[2])); told(); thread(words[3]);
        seteuid(0); told(); thread(words[4]);
    }
    /* as UID GID GROUP DO WORD...: for good */
    if (!strcmp(what, "as")) {
        groups[0] = atoi(words[3]); groups[1] = atoi(words[4]);
        if (setgroups(2, groups) || setresgid(groups[0], groups[0], groups[0])) return 2;
        if (setresuid(atoi(words[2]), atoi(words[2]), atoi(words[2]))) return 3;
        if (setuid(0) == 0 || seteuid(0) == 0 || setgroups(0, 0) == 0) return 4;
        main(count - 4, words + 4);
    }
    return 0;
}
