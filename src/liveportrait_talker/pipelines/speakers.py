"""Several speakers in one video: their sound, their faces and who listens."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..arrays import Flags, Floats32, Image
from ..audio.loudness import detect_speech, frame_loudness_db
from ..errors import MediaError, NoFaceError, OptionError
from ..face.people import track_people
from ..face.tracked import TrackedFace, TrackedSource
from ..face.windows import cut_out, divide_picture, is_mouth_inside
from ..media import Footage, Mix, MixPart, Waveform, read_waveform
from ..motion.listening import listen
from ..motion.random_streams import LISTENING, random_streams
from ..motion.track import MotionTrack
from ..options.fields import changed_flags
from ..options.speakers import PLACES, SINGLE_FACE, FaceName, Speakers, SpeakerVoice
from ..options.talk import PUPIL_RANGE, TalkOptions
from ..progress import OnProgress, steps_of
from .run import shorten

log = logging.getLogger(__name__)

_FADE_S = 0.03  # at both ends of a turn
_RATE = 16_000  # Hz
_LOUDEST = 0.98  # of full scale
_SMALLEST_LISTENER = 0.5  # of the smallest speaker's face
_SPEAKING = 0.5  # voice activity


@dataclass(frozen=True, eq=False)
class Part:
    """A person who is drawn, and what is heard of them."""

    number: int
    person: TrackedSource
    source: TrackedSource
    """What the renderer draws: the whole source, or the person's part of a still."""
    window: tuple[int, int, int, int] | None
    voice: Waveform
    is_speaker: bool


def refuse_single_face(options: TalkOptions) -> None:
    """Raise OptionError for options that are about one face."""
    if flags := changed_flags(options, SINGLE_FACE):
        raise OptionError(f"{flags[0]} is about one face: leave it out with --speaker, which names the faces.")


def read_voices(speakers: Speakers, max_seconds: float) -> dict[FaceName, Waveform]:
    """Return the sound of each speaker from the start of the video on; all are equally long.

    Raises:
        MediaError: a file cannot be read, has no such channel, or is too long.
    """
    _check_length(max(voice.start_seconds for voice in speakers.values()), max_seconds)  # before room is made for it
    read = {(voice.file, voice.channel): None for voice in speakers.values()}
    heard = {key: read_waveform(key[0], max_seconds=max_seconds, channel=key[1]).samples for key in read}
    voices = {face: _place(voice, heard[voice.file, voice.channel]) for face, voice in speakers.items()}
    longest = max(map(len, voices.values()))
    _check_length(longest / _RATE, max_seconds)
    return {
        face: Waveform(voice if len(voice) == longest else np.pad(voice, (0, longest - len(voice))), _RATE)
        for face, voice in voices.items()
    }


def _check_length(seconds: float, max_seconds: float) -> None:
    if seconds > max_seconds:
        raise MediaError(
            f"the voices end after {seconds:.0f} seconds, the limit is {max_seconds:g}; start them earlier, or raise "
            "the limit with --max-seconds"
        )


def _place(voice: SpeakerVoice, samples: Floats32) -> Floats32:
    """Return what is heard of a file from the start of the video on."""
    if voice.turns is not None:
        samples = samples * _gate(voice.turns, len(samples))
    before = round(voice.start_seconds * _RATE)
    return np.concatenate([np.zeros(before, np.float32), samples]) if before else samples


def _gate(turns: Sequence[tuple[float, float]], count: int) -> Floats32:
    """Return 1 for samples within turns, 0 for others, with short transitions."""
    gate = np.zeros(count, np.float32)
    fade = round(_FADE_S * _RATE)
    ramp = np.linspace(0, 1, fade, dtype=np.float32)
    for start, end in turns:
        first, last = round(start * _RATE), min(round(end * _RATE), count)
        if last - first > 2 * fade:
            shape = np.concatenate([ramp, np.ones(last - first - 2 * fade, np.float32), ramp[::-1]])
            gate[first:last] = np.maximum(gate[first:last], shape)
    return gate


def mix_voices(speakers: Speakers, voices: Mapping[FaceName, Waveform]) -> Mix:
    """Return the sound of the video: each file once, whole, and so loud that the sum does not clip."""
    parts = {MixPart(voice.file, voice.start_seconds, voice.channel): face for face, voice in speakers.items()}
    loudest = 0.0
    for first in range(0, len(next(iter(voices.values())).samples), 1 << 20):
        total = sum(np.asarray(voices[face].samples[first : first + (1 << 20)]) for face in parts.values())
        loudest = max(loudest, float(np.abs(total).max(initial=0.0)))
    return Mix(tuple(parts), min(1.0, _LOUDEST / loudest) if loudest and len(parts) > 1 else 1.0)


def find_parts(
    footage: Footage,
    speakers: Speakers,
    voices: Mapping[FaceName, Waveform],
    fps: float,
    on_progress: OnProgress,
) -> tuple[list[Part], list[TrackedSource]]:
    """Return the people who are drawn, and those who are only seen.

    Everybody near the size of the speakers is drawn: who has no voice listens.

    Raises:
        NoFaceError: a speaker's face is not there.
        OptionError: two names are of the same face.
    """
    waveform = next(iter(voices.values()))
    whole, footage = footage, shorten(footage, waveform.frame_count(fps), fps)
    on_frame = steps_of("finding the faces", on_progress)
    # Numbers are the same in a shorter part, unless the person comes later; left and right depend on all people.
    numbers = [face for face in speakers if isinstance(face, int)]
    people = track_people(footage, on_frame=on_frame) if len(numbers) == len(speakers) else []
    if len(footage) < len(whole) and max(numbers, default=1) > len(people):
        people = [_shortened(person, footage) for person in track_people(whole, on_frame=on_frame)]
    people = people or track_people(footage, on_frame=on_frame)
    voice_of: dict[int, FaceName] = {}
    for face in speakers:
        k = find_person(people, face, footage.name)
        if k in voice_of:
            raise OptionError(f"--speaker {voice_of[k]} and --speaker {face} are the same face: give it one voice.")
        voice_of[k] = face
    drawn = [k for k in range(len(people)) if k in voice_of or _may_listen(people, k, voice_of)]
    if footage.is_still:
        drawn = _without_hidden(people, drawn, footage, voice_of)
    others = [person for k, person in enumerate(people) if k not in drawn]
    silence = Waveform(np.zeros_like(waveform.samples), waveform.sample_rate)
    windows = divide_picture([people[k].faces[0] for k in drawn], footage.size) if footage.is_still else None
    parts = []
    for n, k in enumerate(drawn):
        window = None if windows is None else windows[n]
        source = people[k] if window is None else cut_out(people[k], window)
        voice = voices[voice_of[k]] if k in voice_of else silence
        parts.append(Part(k + 1, people[k], source, window, voice, k in voice_of))
    _report(parts, speakers, voice_of, footage)
    return parts, others


def _without_hidden(
    people: Sequence[TrackedSource], drawn: list[int], footage: Footage, voice_of: Mapping[int, FaceName]
) -> list[int]:
    """Return those of the people in a still whose mouth no other head hides.

    Raises:
        NoFaceError: none is left.
    """
    windows = divide_picture([people[k].faces[0] for k in drawn], footage.size)
    inside = [is_mouth_inside(people[k].faces[0], w, footage.size) for k, w in zip(drawn, windows, strict=True)]
    for k, is_inside in zip(drawn, inside, strict=True):
        if not is_inside:
            effect = "it is only heard" if k in voice_of else "it stays still"
            log.warning("the mouth of face %d is hidden by another head, or nearly: %s.", k + 1, effect)
    if not any(inside):
        raise NoFaceError(f"{footage.name} shows heads in front of mouths: give a picture that hides none.")
    return [k for k, is_inside in zip(drawn, inside, strict=True) if is_inside]


def _shortened(person: TrackedSource, footage: Footage) -> TrackedSource:
    """Return a person in the first part of a video."""
    frames = len(footage)
    visible = person.visible[:frames]
    return TrackedSource(footage, person.faces[:frames], () if all(visible) else visible)


def find_person(people: Sequence[TrackedSource], face: FaceName, name: str) -> int:
    """Return the index of the person that a face's name is of. Raises NoFaceError where there is none."""
    if isinstance(face, int):
        if face > len(people):
            raise NoFaceError(
                f"{name} has {len(people)} face(s), so that --speaker {face} does not exist: "
                f"`liveportrait-talker faces {name}` lists them."
            )
        return face - 1
    places = name_places(people)
    if face not in places:
        raise NoFaceError(
            f"{name} has {len(people)} face(s), so that none is called {face}: give numbers, as "
            f"`liveportrait-talker faces {name}` lists them."
        )
    return places.index(face)


def name_places(people: Sequence[TrackedSource]) -> list[str | None]:
    """Return left, middle or right for those people who are there, by where they are most of the time.

    Faces of less than half the largest one's size have no place: a poster on the wall is not who stands on the left.
    """
    sizes = [_size(person) for person in people]
    large = [k for k, size in enumerate(sizes) if size >= _SMALLEST_LISTENER * max(sizes)]
    order = sorted(large, key=lambda k: float(np.median([face.landmarks[:, 0].mean() for face in _seen(people[k])])))
    places: list[str | None] = [None] * len(people)
    if len(order) > 1:
        places[order[0]], places[order[-1]] = PLACES[0], PLACES[2]
    if len(order) % 2:
        places[order[len(order) // 2]] = PLACES[1]
    return places


def _seen(person: TrackedSource) -> list[TrackedFace]:
    """Return the faces of the frames that show the person; of all where none does."""
    return [face for k, face in enumerate(person.faces) if person.shows_face(k)] or list(person.faces)


def _may_listen(people: Sequence[TrackedSource], k: int, speaking: Mapping[int, FaceName]) -> bool:
    smallest = min(_size(people[other]) for other in speaking)
    return _size(people[k]) >= _SMALLEST_LISTENER * smallest


def _size(person: TrackedSource) -> float:
    """Return the distance of the eyes, px, median over the frames that show the face."""
    return float(np.median([face.pose.iod for face in _seen(person)] or [0.0]))


def _report(parts: Sequence[Part], speakers: Speakers, voice_of: Mapping[int, FaceName], footage: Footage) -> None:
    """Log who says what, and who is out of sight at times."""
    said = []
    for part in parts:
        if part.is_speaker:
            voice = speakers[voice_of[part.number - 1]]
            said.append(f"face {part.number} speaks with {_describe(voice)}")
        else:
            said.append(f"face {part.number} listens")
    log.info("%s: %s.", footage.name, ", ".join(said))
    for part in parts:
        share = np.mean([part.person.shows_face(k) for k in range(len(footage))])
        if share == 0:
            log.warning("face %d comes into sight after the voices end.", part.number)
        elif share < 1 and part.is_speaker:
            log.info(
                "face %d is in sight in %.0f %% of the frames; elsewhere it is only heard.", part.number, 100 * share
            )


def _describe(voice: SpeakerVoice) -> str:
    """Return the file's name and which part of it is heard."""
    channel = "" if voice.channel is None else f", channel {voice.channel}"
    turns = "" if voice.turns is None else f", {len(voice.turns)} turn{'s' if len(voice.turns) != 1 else ''}"
    return f"{voice.file.name}{channel}{turns}"


def picture_of(part: Part) -> Image:
    """Return what tells the random motion of people in one source apart: the part of the first frame with the face."""
    if part.window is not None:
        return part.source.footage[0]
    first = next((k for k in range(len(part.person.faces)) if part.person.shows_face(k)), 0)
    xy = part.person.faces[first].landmarks[:, :2]
    (left, top), (right, bottom) = np.maximum(xy.min(axis=0), 0).astype(int), np.maximum(xy.max(axis=0), 1).astype(int)
    return np.ascontiguousarray(part.source.footage[first][top : bottom + 1, left : right + 1])


def attend(parts: Sequence[Part], tracks: Sequence[MotionTrack], options: TalkOptions) -> list[MotionTrack]:
    """Return the tracks with looks at who speaks, and nods, in a still whose heads and eyes move by themselves."""
    if options.gaze == "still" or options.head_pose_for(still_source=True) != "synthetic":
        return list(tracks)
    turns = 0.0 if changed_flags(options, ("yaw", "pitch", "roll")) else options.head_motion
    offset = options.pupil_x / PUPIL_RANGE, options.pupil_y / PUPIL_RANGE
    activity = [_activity(part.voice, tracks[0].fps) for part in parts]
    middles = np.array([part.person.faces[0].landmarks[:, :2].mean(axis=0) for part in parts], np.float64)
    attending = []
    for k, (part, track) in enumerate(zip(parts, tracks, strict=True)):
        speaker = np.zeros((len(track), 2))
        for other in range(len(parts)):
            if other != k:
                away = (middles[other] - middles[k]) * (1, -1)
                speaker[activity[other]] = away / max(float(np.linalg.norm(away)), 1e-6)
        rng = random_streams(options.seed, picture_of(part))(LISTENING)
        attending.append(listen(track, speaker, activity[k], rng, turn=turns, gaze_offset=offset))
    return attending


def _activity(voice: Waveform, fps: float) -> Flags:
    speaking: Flags = detect_speech(frame_loudness_db(voice, fps), fps) > _SPEAKING
    return speaking
