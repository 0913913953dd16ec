from dataclasses import dataclass

RATES = {"EUR": 1.0, "USD": 1.1}


@dataclass
class Rate:
    currency: str
    amount: float
