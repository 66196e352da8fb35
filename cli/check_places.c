/* check_places.c - what lies outside: files named by the configuration, state folder, Kafka. */
#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "cli/check.h"
#include "ingest/source.h"
#include "job/checkpoint_backup.h"
#include "job/checkpoint_verify.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#define DISK_LEAST_BYTES ((uint64_t)1 << 30)

/* ---- files ---- */

static void check_file(struct cmd_check *c, const char *key, const char *path, bool secret)
{
    struct stat info;
    if (*path == 0) return;
    if (access(path, R_OK) != 0 || stat(path, &info) != 0)
        cmd_check_row(c, CMD_CHECK_WRONG, "file", "mend the path or the rights", "%s = %s: %s", key, path,
                      strerror(errno));
    else if (!S_ISREG(info.st_mode))
        cmd_check_row(c, CMD_CHECK_WRONG, "file", "name a plain file", "%s = %s is none", key, path);
    else if (secret && (info.st_mode & (S_IRGRP | S_IROTH)) != 0)
        cmd_check_row(c, CMD_CHECK_WARN, "file", "chmod 600", "%s = %s: others can read this secret", key, path);
    else
        cmd_check_row(c, CMD_CHECK_OK, "file", NULL, "%s = %s", key, path);
}

/* Letters go to a file that is there or can be made; a topic is the broker's to know. */
static void check_letters_place(struct cmd_check *c)
{
    const char *path = c->conf->ingest_dead_letters;
    if (*path == 0 || strncmp(path, "topic:", 6) == 0) return;
    char *folder = file_parent(path);
    const bool there = access(path, F_OK) == 0;
    if (folder == NULL || access(there ? path : folder, there ? R_OK | W_OK : W_OK | X_OK) != 0)
        cmd_check_row(c, CMD_CHECK_WRONG, "file", "mend the path or the rights", "ingest.dead_letters = %s: %s", path,
                      strerror(errno));
    else
        cmd_check_row(c, CMD_CHECK_OK, "file", NULL, "ingest.dead_letters = %s", path);
    mem_free(folder);
}

void cmd_check_files(struct cmd_check *c)
{
    check_file(c, "describe.templates", c->conf->describe_templates, false);
    check_file(c, "ingest.map", c->conf->ingest_map, false);
    check_file(c, "redis.password_file", c->conf->redis_password_file, true);
    check_file(c, "serving.token_file", c->conf->serving_token_file, true);
    check_letters_place(c);
}

/* ---- state folder ---- */

/* LMDB's memory map and lock are unsafe there (statfs(2) lists the numbers). */
static const char *network_name(const char *dir)
{
    struct statfs fs;
    if (statfs(dir, &fs) != 0) return NULL;
    switch ((unsigned long)fs.f_type) {
    case 0x6969: return "NFS";
    case 0xff534d42: return "CIFS";
    case 0xfe534d42: return "SMB2";
    case 0x01021997: return "9P";
    case 0x5346414f: return "AFS";
    default: return NULL;
    }
}

static void check_disk(struct cmd_check *c, const char *dir)
{
    struct statfs fs;
    if (statfs(dir, &fs) != 0) return;
    const uint64_t left = (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize;
    cmd_check_row(c, left < DISK_LEAST_BYTES ? CMD_CHECK_WARN : CMD_CHECK_OK, "state disk",
                  left < DISK_LEAST_BYTES ? "make room: a full disk stops checkpoints" : NULL, "%.1f GiB free",
                  (double)left / 0x1p30);
}

/* Beside a learner that writes, a reading may be overtaken: damage is what shows three times. */
static enum status verify_state(struct checkpoint_verdict *v, const char *dir, struct err *e)
{
    enum status st = STATUS_CORRUPT;
    for (int i = 0; i < 3 && st == STATUS_CORRUPT; i++) st = checkpoint_verify(v, dir, -1, e);
    return st;
}

static void check_backups(struct cmd_check *c, const char *dir)
{
    uint64_t versions[CHECKPOINT_BACKUPS_MAX];
    const size_t n = checkpoint_backups(dir, versions);
    struct err e = {0};
    if (n == 0)
        cmd_check_row(c, CMD_CHECK_OK, "state backup", NULL, "none%s",
                      c->conf->state_backup_ms == 0 ? "; state.backup_every_ms is 0" : " yet");
    for (size_t i = 0; i < n; i++) {
        const unsigned long long version = (unsigned long long)versions[i];
        if (checkpoint_backup_verify(dir, versions[i], -1, &e) == STATUS_OK)
            cmd_check_row(c, CMD_CHECK_OK, "state backup", NULL, "%s/backup/%llu is sound", dir, version);
        else
            cmd_check_row(c, CMD_CHECK_WARN, "state backup", "remove it; the next one is made by itself",
                          "%s/backup/%llu: %s", dir, version, e.text);
    }
}

static void check_store(struct cmd_check *c, const char *dir)
{
    struct checkpoint_verdict v;
    struct err e = {0};
    const enum status st = verify_state(&v, dir, &e);
    if (st == STATUS_UNSUPPORTED)
        cmd_check_row(c, CMD_CHECK_WRONG, "state", "finish with the version that wrote it, or set a new state.dir",
                      "%s: %s", dir, e.text);
    else if (st != STATUS_OK)
        cmd_check_row(c, CMD_CHECK_WRONG, "state",
                      "the next start falls back to the newest sound backup below; without one begin a new state.dir",
                      "%s: %s", dir, e.text);
    else if (v.version == 0)
        cmd_check_row(c, CMD_CHECK_OK, "state", NULL, "%s: nothing in it yet", dir);
    else
        cmd_check_row(
            c, v.n_bad > 0 ? CMD_CHECK_WARN : CMD_CHECK_OK, "state",
            v.n_bad > 0 ? "nothing: the next start sets it aside" : NULL,
            "%s: version %llu, every page and record is sound: %llu records, %.1f MiB, %u weight files, %u older "
            "ones damaged",
            dir, (unsigned long long)v.version, (unsigned long long)v.records,
            (double)(v.state_bytes + v.weight_bytes) / 0x1p20, v.weight_files, v.n_bad);
    check_backups(c, dir);
}

void cmd_check_state(struct cmd_check *c)
{
    const char *dir = c->conf->state_dir;
    struct stat info;
    if (*dir == 0) {
        cmd_check_row(c, CMD_CHECK_SKIP, "state", NULL, "state.dir is not set; run needs it, replay does not");
        return;
    }
    const char *network = network_name(dir);
    if (stat(dir, &info) != 0)
        cmd_check_row(c, CMD_CHECK_WRONG, "state", "make the folder and give it to the user that runs freshet",
                      "%s: %s", dir, strerror(errno));
    else if (!S_ISDIR(info.st_mode) || access(dir, R_OK | W_OK | X_OK) != 0)
        cmd_check_row(c, CMD_CHECK_WRONG, "state", "give the folder to the user that runs freshet",
                      "%s is not a folder that can be written", dir);
    else if (network != NULL)
        cmd_check_row(c, CMD_CHECK_WRONG, "state", "put state.dir on a local disk",
                      "%s lies on %s, which LMDB cannot use safely", dir, network);
    else {
        check_store(c, dir);
        check_disk(c, dir);
        if ((info.st_mode & S_IWOTH) != 0)
            cmd_check_row(c, CMD_CHECK_WARN, "state rights", "chmod o-w", "%s can be written by everybody", dir);
    }
}

/* ---- Kafka ---- */

static bool kafka_is_set(const struct conf *c)
{
    for (size_t i = 0; i < c->n_kafka; i++)
        if (strcmp(c->kafka[i].key, "bootstrap.servers") == 0 || strcmp(c->kafka[i].key, "metadata.broker.list") == 0)
            return true;
    return false;
}

void cmd_check_kafka(struct cmd_check *c)
{
    struct source *s = NULL;
    struct err e = {0};
    if (!kafka_is_set(c->conf)) {
        cmd_check_row(c, CMD_CHECK_SKIP, "kafka", NULL, "kafka.bootstrap.servers is not set; run needs it");
        return;
    }
    const enum status st = source_open_kafka(&s, c->conf, clock_system(), NULL, 0, &e);
    if (st == STATUS_UNSUPPORTED)
        cmd_check_row(c, CMD_CHECK_WRONG, "kafka", "build with FRESHET_WITH_KAFKA=ON", "%s", e.text);
    else if (st != STATUS_OK)
        cmd_check_row(c, CMD_CHECK_WRONG, "kafka", "is the broker up, the address right, the topic made?", "%s",
                      e.text);
    else
        cmd_check_row(c, CMD_CHECK_OK, "kafka", NULL, "%s: %zu partitions", c->conf->ingest_topics,
                      source_partitions(s, NULL, 0));
    source_close(s);
}
