from prefect import flow, task


@task
def leaf(i):
    return i


@flow
def region(name: str):
    return sum(f.result() for f in leaf.map([1, 2]))


@flow
def world():
    inner = [region(name) for name in ("north", "south")]
    return leaf.submit(sum(inner)).result()


@flow
async def district(name: str):
    return leaf.submit(len(name)).result()


@flow
async def town():
    return sum([await district(name) for name in ("east", "west", "centre")])
