"""HOW LONG, AND HOW IT BEHAVES: measurements over flows x runners. Imports the other three packages.

Where to look:

- a run under pytest: `conftest`, `bench_*`, `options`, `profiles`, `plan`, `search`, `foresight`, `session`, `stages`
- one measured cell: `measure`, `clocks`, `usage`, `quiescence`, `server_runs`, `serving`, `tax`, `attached`
- what is kept of it: `run_folder`, `rows`, `progress`, `environment`; of experiments, `findings_file`
- `comparing`: a user's flow (`runner-lab compare`)
- `behaving`: experiments on behaviour (`runner-lab faults`, `equivalence`)
- `placing`: where a task may run, and several hosts (`runner-lab placement`, `hosts`)
"""
