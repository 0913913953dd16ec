"""How each command of README.md, CONTRIBUTING.md and docs/ is known to work: `test_docs` sees to it."""

from __future__ import annotations

RUN = "run here, on runs of known truth"
READ = "read by the program's own parser: it takes minutes, a cluster or a server, or does not end"
COLLECTED = "collected by pytest, not run: it measures for minutes or hours"
TUTORIAL = "run by tests/flows/test_tutorial.py"
REAL_FLOWS = "its flow is run by tests/flows/cases/test_flows.py"
DEPLOYING = "run by tests/lab/test_deploying.py"
PUBLISHING = "run by tests/lab/test_publish.py"
HEALTH = "run by tests/lab/test_health.py"
DISTRIBUTION = "run by tests/distribution/test_wheels.py"
OWN = "run by a test of its own, below"
SHELL = "of the shell or of another program: nothing of the project's to go wrong"

HOW = {
    "uv run runner-lab runners": OWN,
    "uv run runner-lab run --profile smoke": READ,
    "uv run runner-lab open": READ,
    "runner-lab advise flows/etl.py:etl": DISTRIBUTION,
    "runner-lab compare flows/etl.py:etl": DISTRIBUTION,
    "runner-lab run": READ,
    "runner-lab choose --tasks 200 --task-seconds 0.3 --work io": DISTRIBUTION,
    "runner-lab open": DISTRIBUTION,
    "pytest benchmarks --benchmark-only": COLLECTED,
    "uv run runner-lab report results/four-workers": RUN,
    "uv run runner-lab choose --tasks 2000 --task-seconds 0.3 --work sleep --payload 200kB "
    "--from results/four-workers": RUN,
    "uv run runner-lab choose --tasks 500 --task-seconds 2 --work cpu": RUN,
    "uv run runner-lab regret --draws 10 --seed 1": READ,
    "uv run runner-lab capacity --task-seconds 1 --work io": READ,
    "uv run runner-lab diff results/before results/after": RUN,
    "uv run runner-lab history": RUN,
    "uv run runner-lab history --profile quick --json": RUN,
    "source <(uv run runner-lab completion bash)": OWN,
    "uv run runner-lab doctor": HEALTH,
    "uv run runner-lab doctor --json": HEALTH,
    "uv run runner-lab publish results/four-workers": PUBLISHING,
    "uv run runner-lab publish results/four-workers --api-url http://127.0.0.1:4200/api "
    "--report-url http://lab.example/four-workers/report.html": READ,
    "uv run runner-lab advise my_flow.py:my_flow --param n=8": READ,
    "uv run runner-lab compare my_flow.py:my_flow --runners processes,lean-processes --param n=8 --blocks 3": READ,
    "uv run runner-lab compare flows/cases/csv_etl.py:csv_etl --runners processes,dask --param files=80": READ,
    "uv run runner-lab cases --out results/my-cases": READ,
    "uv run runner-lab cases csv_etl text_features --runners threads,processes --blocks 2 "
    "--param csv_etl.files=80": READ,
    "uv run runner-lab cases --resume results/my-cases": READ,
    "uv run runner-lab cases --resume results/my-cases --page docs/real-flows.md": READ,
    "uv run runner-lab placement": READ,
    "uv run runner-lab placement --only dask,background --json": READ,
    "uv run runner-lab faults": READ,
    "uv run runner-lab faults --only worker-killed,stopped --runners dask,lean-dask": READ,
    "uv run runner-lab equivalence": READ,
    "uv run runner-lab equivalence --only same-key,key-function --runners threads,dask,lean-dask": READ,
    "sudo .venv/bin/runner-lab hosts": READ,
    "sudo .venv/bin/runner-lab hosts --runners dask,lean-dask --only across,worker-10s": READ,
    "uv run runner-lab scale results/sqlite results/postgres": READ,
    "uv run runner-lab demo": READ,
    "uv run pytest benchmarks --benchmark-only": COLLECTED,
    "uv run pytest benchmarks --benchmark-only --lab-runners threads,dask --lab-blocks 7": COLLECTED,
    "uv run pytest benchmarks --benchmark-only --workers 4 --lab-out results/four-workers": COLLECTED,
    "uv run pytest benchmarks --benchmark-only --lab-resume results/four-workers": COLLECTED,
    "uv run pytest benchmarks --benchmark-only --lab-profile lean": COLLECTED,
    "uv run pytest benchmarks --benchmark-only --lab-profile scale --lab-out results/sqlite": COLLECTED,
    "uv run pytest benchmarks --benchmark-only --lab-profile scale "
    "--lab-database-url postgresql+asyncpg://... --lab-out results/postgres": COLLECTED,
    "uv run pytest benchmarks --benchmark-only --lab-profile pieces --lab-runners lean-threads,lean-dask": COLLECTED,
    "uv run pytest benchmarks --benchmark-only --lab-config runners.toml --lab-runners threads,control,dask,lean-dask "
    "--workers 2 --lab-api-url http://10.0.0.1:4200/api": COLLECTED,
    "uv run pytest benchmarks --benchmark-only --lab-profile smoke --lab-runners threads,control,YOURS": COLLECTED,
    "uv run python -m flows.hello_world": TUTORIAL,
    "uv run python -m flows.hello_flow": TUTORIAL,
    "uv run python -m flows.hello_tasks": TUTORIAL,
    "uv run python -m flows.retrying_task": TUTORIAL,
    "uv run python -m flows.cached_task": TUTORIAL,
    "uv run python -m flows.parallel_tasks": TUTORIAL,
    "uv run python -m flows.choose_runner": TUTORIAL,
    "uv run python -m flows.cases.csv_etl": REAL_FLOWS,
    "uv run prefect work-pool create my-pool --type process": DEPLOYING,
    "uv run prefect --no-prompt deploy -n hello-flow-deployment": DEPLOYING,
    "uv run prefect worker start --pool my-pool": DEPLOYING,
    "uv run prefect deployment run hello-flow/hello-flow-deployment --watch": DEPLOYING,
    "uv run prefect work-pool create docker-pool --type docker --base-job-template deploy/docker-pool.json": DEPLOYING,
    "uv run prefect work-pool create kubernetes-pool --type kubernetes "
    "--base-job-template deploy/kubernetes-pool.json": DEPLOYING,
    "uv run prefect --no-prompt deploy -n nightly-comparison": READ,
    "uv run prefect server start --host 127.0.0.1": READ,
    "uvx prefect server start": READ,
    "docker run -p 4200:4200 -d --rm prefecthq/prefect:3-latest -- prefect server start --host 0.0.0.0": READ,
    "prefect server start --host 10.0.0.1": READ,
    "dask scheduler --host 10.0.0.3 --port 8786": READ,
    "dask worker tcp://10.0.0.3:8786 --host 10.0.0.3 --nthreads 1": READ,
    "dask worker tcp://10.0.0.3:8786 --host 10.0.0.4 --nthreads 1": READ,
    "ray start --head --node-ip-address 10.0.0.3 --port 6379 --ray-client-server-port 10001": READ,
    "ray start --address 10.0.0.3:6379 --node-ip-address 10.0.0.4": READ,
    "prefect work-pool create right --type process": READ,
    "prefect worker start --pool right": READ,
    "prefect task serve flows/experiments/placement.py:on_left": READ,
    "prefect task serve flows/experiments/placement.py:on_right": READ,
    'dask worker tcp://scheduler.example:8786 --name left --resources "left=1"': READ,
    'ray start --address head.example:6379 --resources \'{"right": 1}\' --labels "place=right"': READ,
    "uv run pytest": SHELL,
    'uv run pytest -m "not slow"': SHELL,
    "uv run pytest -m long": SHELL,
    "pip install uv": SHELL,
    "uv sync --compile-bytecode": SHELL,
    "pip install -e runners/lean -e '.[all]' -c constraints.txt": SHELL,
    "uv build --all-packages --wheel --out-dir dist": DISTRIBUTION,
    'pip install dist/prefect_lean-*.whl "$(echo dist/runner_lab-*.whl)[all]"': SHELL,
    'pip install dist/prefect_lean-*.whl "$(echo dist/runner_lab-*.whl)[cases]"': SHELL,
    "pip install ./runners/lean": SHELL,
    "pip install './runners/lean[dask]'": SHELL,
    "pip install './runners/lean[ray]'": SHELL,
    "git clone <this repository> runner-lab": SHELL,
    "cd runner-lab": SHELL,
    "rm -r /tmp/runner-lab-tutorial": SHELL,
    "export PREFECT_HOME=/tmp/runner-lab-tutorial": SHELL,
    "export PREFECT_HOME=/tmp/runner-lab-tutorial RAY_TMPDIR=/tmp/runner-lab-tutorial": SHELL,
    "export PREFECT_SERVER_ANALYTICS_ENABLED=false DO_NOT_TRACK=1": SHELL,
    "export PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS=120": SHELL,
    "export PREFECT_API_URL=http://127.0.0.1:4200/api": SHELL,
}
