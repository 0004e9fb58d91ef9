// The simulator's answer to a measured dispatch or combine.
#pragma once

#include "sim/app/accuracy.h"
#include "sim/workloads/lone_question.h"

namespace sim {

// The mean rank's time, without the size exchange, as tables print it. Fills the prediction or why
// there is none. REQUIRES: the row has tokens; the cluster has its nodes.
void predict_exchange(LonePredictor& predictor, PredictedRow& out);

}  // namespace sim
