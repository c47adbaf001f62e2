"""The browser page, built with Gradio (extra `ui`), and its API.

`liveportrait-talker ui` starts the server. Programs use it through `gradio_client`:

    from gradio_client import Client, handle_file

    client = Client("http://127.0.0.1:7860")
    video, report = client.predict(
        source=handle_file("examples/portrait.png"),
        voice=handle_file("examples/voice.wav"),
        options={"seed": 7, "head_motion": 0.5},
        api_name="/talk",
    )
    print(video, report["frames"])

    voice = handle_file("examples/voice.wav")
    video, report = client.predict(
        source=handle_file("examples/pair.jpg"), voices=[voice, voice], starts=[0, 7.5], api_name="/speakers"
    )
    video, report = client.predict(
        source=handle_file("examples/portrait.png"), driving=handle_file(video), api_name="/animate"
    )
    picture, report = client.predict(
        portrait=handle_file("examples/portrait.png"), edit={"smile": 0.6, "rotate_yaw": 8}, api_name="/edit"
    )

The options are the fields of `TalkOptions`, `AnimateOptions`, `EditOptions` and `EditSetup`. `/talk` takes
`text="Hello!"` (with `speech_voice` and `pace`) in place of `voice`, videos to follow as `ref_head_pose=handle_file(…)`
and `ref_blink=…`, and keyframes as `expression_keys=…`. `/speakers` takes sounds, the first for the largest face
(`faces=[2, 1]` names others), and the same options. `/edit` takes a picture whose expression is copied as `sample=…`,
and keyframes as `keyframes=…`. All four take pictures and videos of the person's open mouth as
`mouth_from=[handle_file(…), …]`. `client.submit(…)` returns a job whose outputs report the stage and the number of jobs
ahead, and whose `.cancel()` stops it. Errors raise `gradio_client.exceptions.AppError` with the library's message. If
the page has a password: `Client(…, httpx_kwargs={"auth": ("user", "password")})`.
"""
