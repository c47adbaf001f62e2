"""The page: a second thin door on the library, made with Gradio (extra `ui`).

`liveportrait-talker ui` starts it. What it can do, a program can do, too:

    from gradio_client import Client, handle_file

    client = Client("http://127.0.0.1:7860")
    video, report = client.predict(
        source=handle_file("examples/portrait.png"),
        voice=handle_file("examples/voice.wav"),
        options={"seed": 7, "head_motion": 0.5},
        api_name="/talk",
    )
    print(video, report["frames"])

    video, report = client.predict(
        source=handle_file("examples/portrait.png"), driving=handle_file(video), api_name="/animate"
    )
    picture, report = client.predict(
        portrait=handle_file("examples/portrait.png"), edit={"smile": 0.6, "rotate_yaw": 8}, api_name="/edit"
    )

The options are the fields of `TalkOptions`, `AnimateOptions`, `EditOptions` and `EditSetup`. `/talk` takes
`text="Hello!"` (with `speech_voice` and `pace`) in place of `voice`, and videos to follow as
`ref_head_pose=handle_file(…)` and `ref_blink=…`; `/edit` a picture to copy as `sample=…`, and keyframes as
`keyframes=…`. `client.submit(…)` tells the stage and how many jobs are ahead, and its `.cancel()` stops the job.
Mistakes raise `gradio_client.exceptions.AppError` with the library's sentence.
"""
