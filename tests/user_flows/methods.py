from prefect import flow, task


@task
def scaled(n, by):
    return n * by


class Scale:
    unit = 10

    def __init__(self, by):
        self.by = by

    @flow
    def of(self, n: int = 2):
        return scaled.map([1, n], by=self.by).result()

    @flow
    @classmethod
    def of_unit(cls, n: int = 2):
        return scaled.map([1, n], by=cls.unit).result()

    @flow
    @staticmethod
    def fixed(n: int = 2):
        return scaled.map([1, n], by=5).result()


scale = Scale(3)
