"""HOW LONG, AND HOW IT BEHAVES: measurements over flows x runners. Imports the other three packages.

Where to look:

- a run under pytest: `conftest`, `bench_*`, `options`, `profiles`, `plan`, `search`, `foresight`, `session`, `stages`
- one measured cell: `measure`, `clocks`, `usage`, `quiescence`, `server_runs`, `serving`, `tax`, `attached`
- what is kept of it: `run_folder`, `rows`, `progress`, `environment`
- a user's flow (`runner-lab compare`): `compare`, `user_flow`, `user_module`, `user_runs`, `call_sites`, `agreement`,
  `output`
- behaviour (`faults`, `equivalence`): `experiment`, `behaviour`, `findings_file`, `arm_process`, `own_process`,
  `second_driver`, `api_states`, `counting`; the experiments are in `faults_*`, `caching`, `locking`, `retrying`
- places (`placement`, `hosts`): `placement`, `ways`, `places`, `hosts`, `network`, `far_clusters`, `far_driver`,
  `severed`, `bare_environment`
"""
