from prefect import flow, task
from rates import RATES, Rate


@task
def convert(amount: float, currency: str) -> Rate:
    return Rate(currency, amount * RATES[currency])


@flow
def report():
    return [future.result() for future in convert.map(10.0, ["EUR", "USD"])]
