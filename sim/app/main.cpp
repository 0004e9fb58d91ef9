// simulate: the command line. The only place that catches, and that turns failures into exit codes:
// 0 done, 1 the user's input, 2 our bug.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <iostream>
#include <new>

#include "sim/app/commands/commands.h"
#include "sim/app/commands/validate.h"
#include "sim/app/simulation.h"
#include "sim/app/usage.h"
#include "sim/core/error.h"

int main(int argc, char** argv) {
  CLI::App app{
      "simulate: how long will a Mixture-of-Experts model take on a GPU cluster, and why?\n"
      "  simulate run first-light --results out.db      then      simulate query out.db summary",
      "simulate"};
  app.set_version_flag("--version", std::string(sim::kVersion));
  app.formatter(sim::help_layout());  // subcommands take it over
  app.require_subcommand(1);
  for (sim::AttachCommand* attach : sim::kCommands) attach(app);
  sim::attach_validate(app);
  try {
    app.parse(argc, argv);
    std::cout.flush();
    if (!std::cout) {
      std::cerr << "simulate: standard output could not be written\n";
      return 1;
    }
    return 0;
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
    std::cerr << sim::usage_mistake(app, error) << '\n';
    return 1;
  } catch (const sim::Error& error) {
    std::cout.flush();
    std::cerr << error.what() << '\n';
    return 1;
  } catch (const std::bad_alloc&) {
    std::cerr << "simulate: out of memory; ask for fewer tokens, GPUs or steps\n";
    return 1;
  } catch (const std::exception& error) {
    std::cerr << "simulate: a mistake of ours, please report it: " << error.what() << '\n';
    return 2;
  }
}
