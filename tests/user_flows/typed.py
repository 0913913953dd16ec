from datetime import date

from prefect import flow, task
from pydantic import BaseModel


class Config(BaseModel):
    region: str
    limit: int = 10


@task
def describe(config: Config, day: date, code: str) -> str:
    return f"{config.region} {config.limit} {day:%d.%m.%Y} {code}"


@flow
def typed(config: Config, day: date, code: str):
    return describe.submit(config, day, code).result()
