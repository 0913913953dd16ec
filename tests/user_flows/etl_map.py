from prefect import flow, task


@task
def extract(i: int) -> int:
    return i


@task(retries=1)
def transform(i: int, factor: float) -> float:
    return i * factor


@task
def load(rows: list[float]) -> float:
    return sum(rows)


@flow(name="Nightly ETL", log_prints=True)
def etl(n: int, factor: float = 0.1) -> float:
    print(f"{n} rows")
    rows = transform.map(extract.map(range(n)), factor)
    return load.submit(rows).result()


if __name__ == "__main__":
    etl(10)
