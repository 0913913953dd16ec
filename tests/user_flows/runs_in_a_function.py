from prefect import flow


@flow
def eager():
    return 1


def main():
    return eager()


main()
