"""The internals of Prefect that each saving leans on, with the digests that they were tested with.

A further release is a further digest, and nothing where it has those that are here. `savings` says what each saving is.
`name()` stands for the arguments of a function that is called with arguments by name: what it does is its own.
"""

from __future__ import annotations

from collections.abc import Mapping

TESTED_PREFECT_VERSIONS = ("3.7.0", "3.7.8", "3.8.0", "3.8.8", "3.9.0", "3.9.1")
"""The releases that flows were run with. Those between them have the digests of one of them in every place."""

Pins = Mapping[str, Mapping[str, str]]
"""Of each internal, the digests that it was tested with, and the releases that have them."""

_RUNNER_ENTERED: Pins = {
    "prefect.task_runners:TaskRunner.__enter__": {"ade25aa18deafdf17b7ce4f1923934db": "3.7.0 to 3.9.1"},
    "prefect.task_runners:TaskRunner.__exit__": {"23b78a6577d7f33164f87817995db3a0": "3.7.0 to 3.9.1"},
}
_FUTURES: Pins = {
    "prefect.futures:PrefectTaskRunFuture": {"34f788659e4cc838e2a02a3905263918": "3.7.0 to 3.9.1"},
    "prefect.futures:PrefectWrappedFuture": {"5712f62d2aa64fd31a2fc92a5b60c3d7": "3.7.0 to 3.9.1"},
    "prefect.futures:PrefectConcurrentFuture": {
        "28167208ac674b04aa6a7e4a0b15c8a3": "3.7.0",
        "2a3b5ff129c049ce4910d92dd5486386": "3.7.1 to 3.9.1",
    },
}
_CLIENT_CONTEXTS: Pins = {
    "prefect.context:SyncClientContext": {"49269cffa9b25402694ec3d74e4248f6": "3.7.0 to 3.9.1"},
    "prefect.context:AsyncClientContext": {"099c1f00fa553771a4095cf85f7cdcbd": "3.7.0 to 3.9.1"},
}

PINS: dict[str, Pins] = {
    "calls": {
        **_RUNNER_ENTERED,
        **_FUTURES,
        "prefect.task_engine:run_task_sync()": {"f281636bc042a4671f6f57667dcc1d55": "3.7.0 to 3.9.1"},
        "prefect.task_engine:run_task_async()": {"f281636bc042a4671f6f57667dcc1d55": "3.7.0 to 3.9.1"},
        "prefect.utilities.engine:collect_task_run_inputs_sync()": {
            "d32867ab3afd4a6875b0597047e4b8d2": "3.7.0 to 3.9.1"
        },
        "prefect.utilities.engine:emit_task_run_state_change_event()": {
            "5584ad8610625ed0e4ab38d0149294f9": "3.7.0 to 3.9.1"
        },
    },
    "context": {
        "prefect.context:serialize_context": {"78c76d9947b73fd849132f81edc98545": "3.7.0 to 3.9.1"},
        "prefect.context:hydrated_context": {
            "408d0db46e95430373de42f6de42ca4d": "3.7.0",
            "cb2b6271c0d1ef3db71826e3db1609c2": "3.7.1 to 3.9.1",
        },
        "prefect.context:ContextModel": {"a9f3352b2534807d8c5dd4a8fee723cf": "3.7.0 to 3.9.1"},
        "prefect.context:AssetContext.from_task_and_inputs": {"6db8da496b4b6b713ba2fc7d47dd5ddf": "3.7.0 to 3.9.1"},
    },
    "settings": {
        "prefect.context:SettingsContext": {
            "aa9eac5ce09cb03a52f9a38929352678": "3.7.0 to 3.8.1",
            "c39a3023a8aad94804db7ed531484e64": "3.8.2 to 3.9.1",
        },
    },
    "flow-run": {
        "prefect.context:RunContext": {"c719486d962262778597dc96baf9ee00": "3.7.0 to 3.9.1"},
        "prefect.context:EngineContext": {
            "b0d9a83d547e4f666564f7d657712c0e": "3.7.0",
            "5b7c1881960d02945f6302eb6763a8fe": "3.7.1 to 3.9.1",
        },
    },
    "blocks": {
        "prefect.blocks.core:Block.get_block_class_from_key": {"4588b6ff9825e150f769dea2636a7eba": "3.7.0 to 3.9.1"},
        "prefect.utilities.dispatch:lookup_type": {"f70012511a7a65bcc229fe07155caf2f": "3.7.0 to 3.9.1"},
    },
    "clients": {
        **_CLIENT_CONTEXTS,
        "prefect.client.orchestration:get_client": {
            "76197afa19e458319a0b3fc0c07cbcd3": "3.7.0 to 3.7.8",
            "4c21a3078cb159075265231b398f8688": "3.8.0 to 3.9.1",
        },
        "prefect.client.orchestration:SyncPrefectClient.__init__": {
            "49bdef7e6a459b416ba40578969d0a34": "3.7.0 to 3.9.1"
        },
        "prefect.client.orchestration:PrefectClient.__init__": {"d1957ab50293feb8b3e3868c9f4eb842": "3.7.0 to 3.9.1"},
    },
    "events": {
        "prefect.events.worker:EventsWorker": {
            "2ff554ce3838419070481d1b054a5761": "3.7.0 to 3.8.4",
            "d75032af172d4a3f4db4d965b8d6b040": "3.8.5 to 3.9.1",
        },
        "prefect._internal.concurrency.services:_QueueServiceBase.__init__": {
            "a6180d2720cbb9d76b7035d98d4ff388": "3.7.0 to 3.8.8",
            "4fac19b63b6a7571016ed92aa5e7dcd1": "3.9.0 to 3.9.1",
        },
        "prefect._internal.concurrency.services:_QueueServiceBase.reset_for_fork": {
            "1c12790ed060f4a0027b74f31c239d70": "3.7.0 to 3.9.1"
        },
        "prefect._internal.concurrency.services:_QueueServiceBase.start": {
            "9177c535a9a6ae0c4f2c34e4c2013c1b": "3.7.0 to 3.9.1"
        },
        "prefect._internal.concurrency.services:_QueueServiceBase._stop": {
            "168f9126b49ec29f8bf266548adfb9c6": "3.7.0 to 3.9.1"
        },
        "prefect._internal.concurrency.services:_QueueServiceBase._run": {
            "1fe74535ff3847e948c4ae8907d636e0": "3.7.0 to 3.9.1"
        },
        "prefect._internal.concurrency.services:_QueueServiceBase.instance": {
            "73b192e7dd0b1de1a7d83a8cea94a395": "3.7.0 to 3.8.7",
            "577e07aed5aacb191bd7631be9e320a0": "3.8.8 to 3.9.1",
        },
        "prefect._internal.concurrency.services:_QueueServiceBase._remove_instance": {
            "0e9171c02c4a5c074e2e861d7f189353": "3.7.0 to 3.8.7",
            "2acb218fb97a9588c182e0ce07ef4d23": "3.8.8 to 3.9.1",
        },
        "prefect._internal.concurrency.services:_QueueServiceBase._new_instance": {
            "e4d1dbc72c4640bfecb6ee3e99bf3a23": "3.7.0 to 3.8.7",
            "51665599598b712ef2f96c2899b67e88": "3.8.8 to 3.9.1",
        },
        "prefect._internal.concurrency.services:QueueService": {"19310330dfd21597b85e39b58ccd472d": "3.7.0 to 3.9.1"},
    },
    "bursts": {
        "prefect._internal.concurrency.services:_QueueServiceBase._main_loop": {
            "1a3b7b72f699141c81faf8ba97096428": "3.7.0 to 3.8.8",
            "f90e210acf91205e54b52481518c8225": "3.9.0 to 3.9.1",
        },
    },
    "related": {
        "prefect.events.related:related_resources_from_run_context": {
            "e1ccd3874ded856e1b4f93463c31958a": "3.7.0 to 3.9.1"
        },
    },
    "window": {
        "prefect.events.clients:EventsClient.emit()": {"efc13ec8d9a0c8f7bfec65c236109ffc": "3.7.0 to 3.9.1"},
        "prefect.client.orchestration:PrefectClient.read_task_run()": {
            "4c0fe046e24b6106d2f02b15b2e487a2": "3.7.0 to 3.9.1"
        },
        "prefect.client.orchestration:PrefectClient.read_task_runs()": {
            "ae35541065004afb9a305ca873f3bbb1": "3.7.0 to 3.9.1"
        },
    },
    "final": {
        "prefect.utilities.engine:emit_task_run_state_change_event": {
            "bb3b4568ba398a153e8f78033981e911": "3.7.0 to 3.9.1"
        },
    },
    "mended": {
        "prefect.logging.loggers:patch_print": {"d7be908e8fc8f5f8a532dbde80965765": "3.7.0 to 3.9.1"},
        "prefect.logging.loggers:print_as_log()": {"c2d1076c4574f1811bfc5e05a2d7eedb": "3.7.0 to 3.9.1"},
        "prefect.utilities.collections:replace()": {"806a9df29e88a648930cb1d433d0da84": "3.7.0 to 3.9.1"},
    },
    "results": {
        "prefect.task_engine:SyncTaskRunEngine.call_task_fn": {"49624d29c092131ac594c74f95d552dc": "3.7.0 to 3.9.1"},
        "prefect.task_engine:AsyncTaskRunEngine.call_task_fn": {"d1123450ab29d0e86f1746f2c6852aed": "3.7.0 to 3.9.1"},
        "prefect.task_engine:SyncTaskRunEngine.handle_success()": {
            "31e65823fd082c70ba2d7e55c69080a0": "3.7.0 to 3.9.1"
        },
        "prefect.task_engine:AsyncTaskRunEngine.handle_success()": {
            "31e65823fd082c70ba2d7e55c69080a0": "3.7.0 to 3.9.1"
        },
    },
    "patience": {
        **_CLIENT_CONTEXTS,
        "prefect.client.base:PrefectHttpxSyncClient._send_with_retry()": {
            "aa2505ceb14bcb9112fa1d10e8dfb833": "3.7.0 to 3.9.1"
        },
        "prefect.client.base:PrefectHttpxAsyncClient._send_with_retry()": {
            "aa2505ceb14bcb9112fa1d10e8dfb833": "3.7.0 to 3.9.1"
        },
    },
    "futures": {
        **_FUTURES,
        **_RUNNER_ENTERED,
        "prefect.task_runners:ThreadPoolTaskRunner.__init__": {"8574ad53369202d0a37be2551052d355": "3.7.0 to 3.9.1"},
        "prefect.task_runners:ThreadPoolTaskRunner.submit": {
            "48eb006eb5850427a04d2e65e4c73f75": "3.7.0 to 3.7.8",
            "58a04b47439abb5b14686fa0f117cd87": "3.8.0 to 3.9.1",
        },
        "prefect.task_runners:ThreadPoolTaskRunner.cancel_all": {"d7555a421dda1568622b705e548f3689": "3.7.0 to 3.9.1"},
        "prefect.task_engine:SyncTaskRunEngine.begin_run": {"71a6b865e69655ed13b254de026ffc67": "3.7.0 to 3.9.1"},
        "prefect.task_engine:AsyncTaskRunEngine.begin_run": {"c5b9e62eec2889221b19439fa77b1390": "3.7.0 to 3.9.1"},
        "prefect.context:ContextModel": {"a9f3352b2534807d8c5dd4a8fee723cf": "3.7.0 to 3.9.1"},
    },
    "pool": {
        "prefect.task_runners:_initialize_process_pool_worker": {
            "e4e5c9bd877c9df775742ce2a00f9d92": "3.7.0 to 3.7.8",
            "4e5392f425fdef4c06503e91ea41fd9f": "3.8.0 to 3.9.1",
        },
        "prefect.task_runners:_run_task_in_subprocess": {
            "b2de26dd701a43e89c0102542a61ea65": "3.7.0 to 3.9.0",
            "8e0194ae7b364123f54f7d58bc5f0b0d": "3.9.1",
        },
        "prefect.task_runners:ProcessPoolTaskRunner.__init__": {
            "cfbe4ea556099c66e89f803153e7d6e6": "3.7.0 to 3.7.8",
            "3b2bbeaa8c88b5c6bac9af7b00e0f9c1": "3.8.0 to 3.9.0",
            "a2a292fc1bd6fc8040e5394e883d898f": "3.9.1",
        },
        "prefect.task_runners:ProcessPoolTaskRunner.duplicate": {
            "034e32a365eeae4801e3b1b8a18634ee": "3.7.0 to 3.7.8",
            "86b24d99a467f4d5fb2952b4a16bb821": "3.8.0 to 3.9.1",
        },
        "prefect.task_runners:ProcessPoolTaskRunner.__enter__": {
            "f23493e5744098b4cdf78e8f94d63df1": "3.7.0 to 3.7.8",
            "0da370e1499f892023ab8c7dd18cacfe": "3.8.0 to 3.9.1",
        },
        "prefect.task_runners:ProcessPoolTaskRunner.__exit__": {"db9fadd2ec1ad4911355cbd699720652": "3.7.0 to 3.9.1"},
        "prefect.task_runners:ProcessPoolTaskRunner.cancel_all": {
            "ae5d46a0717f32ee8eb87e3c9b334c99": "3.7.0 to 3.9.0",
            "828a93015504bde3f448fb0dbe16b362": "3.9.1",
        },
        "prefect.task_runners:ProcessPoolTaskRunner._forward_subprocess_messages": {
            "26db6f23eba9193d5e899d614276a28a": "3.7.0 to 3.9.1"
        },
        "prefect.task_runners:ProcessPoolTaskRunner._stop_message_forwarding": {
            "2a20dbfcac5268025a21aad95767ff56": "3.7.0 to 3.9.1"
        },
    },
}
