// SPDX-License-Identifier: MPL-2.0

// Between a row's process and the parent that started it.

#ifndef MEASURE_H
#define MEASURE_H

#include "bench.h"

enum row_status { ROW_OK, ROW_UNSUPPORTED, ROW_FAILED };

// What a row's process writes to its result pipe, in one piece.
struct result {
    enum row_status status;
    long operations;
    // Nanoseconds per operation.
    double cost[BATCHES];
    char why[WHY_SIZE];
};

void measure_init(int result_fd, int64_t batch_ns);

#endif
