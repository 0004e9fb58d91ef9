// simulate validate: published figures beside simulated ones.
#pragma once

namespace CLI {
class App;
}

namespace sim {

void attach_validate(CLI::App& app);

}  // namespace sim
