/* bench_topics.c - every topic of `freshet bench`, in the order they are run and shown. */
#include "cli/bench.h"

const struct cmd_bench_topic *const cmd_bench_topics[] = {
    &cmd_bench_gemm, &cmd_bench_encode, &cmd_bench_ingest,  &cmd_bench_train, &cmd_bench_score,  &cmd_bench_rerank,
    &cmd_bench_load, &cmd_bench_live,   &cmd_bench_publish, &cmd_bench_state, &cmd_bench_memory,
};
const size_t cmd_bench_n_topics = sizeof cmd_bench_topics / sizeof *cmd_bench_topics;
