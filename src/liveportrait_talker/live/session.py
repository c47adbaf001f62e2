"""A live session: sound and camera images come in from any thread, frames are drawn where they are asked for.

Nothing runs by itself: the thread that iterates waits for the next frame's time, draws it and gets it. Source:
docs/method/live.md.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from threading import Condition, Lock
from types import TracebackType

import numpy as np

from ..arrays import Floats, Image
from ..errors import TalkerError
from ..face.tracked import TrackedSource
from ..motion.track import MotionTrack, MouthControls
from ..options.live import LiveOptions
from ..render.paste import composite
from ..render.protocol import PreparedFace
from .follower import Follower
from .frame import LiveCounts, LiveFrame, State
from .motion import LiveMotion
from .sound import MouthStream, SoundStream
from .voice import Samples, VoiceQueue

log = logging.getLogger(__name__)

_MARGIN_S = 0.02  # by which a chunk may be late without a gap in the sound
_LONGEST_DELAY_S = 1.0  # a session that is further behind its clock sets it anew


class LiveSession:
    """A face that lives, listens and speaks. `Talker.live` makes it; iterate for its frames, close it at the end.

    `push`, `end`, `clear`, `follow` and `close` may be called from any thread, and do not wait for drawing.
    """

    def __init__(
        self,
        source: TrackedSource,
        face: PreparedFace,
        speech: MouthStream,
        options: LiveOptions,
        max_turn_deg: Floats,
    ) -> None:
        """`max_turn_deg`: (3,) pitch, yaw, roll up to which a camera is followed."""
        self._source, self._face, self._options = source, face, options
        self.fps = options.fps
        self.sample_rate = options.sample_rate
        """Hz, of the samples of the frames."""
        self._voice = VoiceQueue(options.sample_rate, options.max_pending)
        self._sound = SoundStream(
            self._voice, speech, sample_rate=options.sample_rate, fps=options.fps, look_ahead=options.look_ahead
        )
        self._motion = LiveMotion(source, options)
        self._follower = Follower(source, options.fps, max_turn_deg)
        self._counts = LiveCounts()
        self._one_reader = Lock()
        self._changed = Condition()  # guards what follows
        self._is_closed = False
        self._interruptions = 0  # calls of `clear`
        self._seen_interruptions = 0  # of these, what the drawing thread knows about
        self._closing_frames = 0
        self._undelivered = 0  # pushed samples that left the queue and are in no frame that was returned
        self._clock_start: float | None = None  # when frame 0 is due
        self._state: State = "idle"
        self._image = self._warm_up()

    def __enter__(self) -> LiveSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"LiveSession({self._source.footage.name}, {self.fps:g} frames/s, {self._state})"

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the images, px."""
        return self._source.footage.size

    @property
    def counts(self) -> LiveCounts:
        """What was delivered and dropped so far."""
        dropped = self._voice.dropped / self.sample_rate
        return replace(self._counts, dropped_seconds=dropped, dropped_images=self._follower.dropped)

    @property
    def pending_seconds(self) -> float:
        """Sound that was pushed and is not in a frame yet: 0 when the last frame has the end of it."""
        with self._changed:
            return (len(self._voice) + self._undelivered) / self.sample_rate

    def push(self, samples: Samples, sample_rate: int) -> None:
        """Add sound to be spoken.

        Args:
            samples: (n,) mono, float32 −1…1 or int16; any number of them. What is not finite becomes 0.
            sample_rate: Hz, 8000…48000; may change from call to call.

        Raises:
            OptionError: the samples or the rate are of another kind.
            TalkerError: the session is closed.
        """
        self._check_open()
        self._voice.push(samples, sample_rate, self._silence_before)

    def end(self) -> None:
        """End an utterance: what waits is spoken, then the face rests."""
        self._check_open()
        self._voice.end(self._silence_before)

    def clear(self) -> float:
        """Interrupt: drop everything that was not played and close the lips. Return the seconds of sound dropped."""
        with self._changed:
            dropped = self._voice.clear() + self._undelivered
            self._undelivered = 0
            self._interruptions += 1
            self._counts.cleared_seconds += dropped / self.sample_rate
        return dropped / self.sample_rate

    def follow(self, image: Image) -> bool:
        """Let head, eyes and mouth follow the face in a camera's image; return whether one was found.

        The first images define the person's pose and expression at rest. Without a new face for half a second the
        portrait moves by itself again. While another image is being read, this one is dropped and counted.

        Args:
            image: (H, W, 3) uint8 RGB.

        Raises:
            OptionError: the image is of another kind.
            TalkerError: the session is closed.
        """
        self._check_open()
        return self._follower.see(image)

    def close(self) -> None:
        """End the session: the iteration stops, a waiting one at once."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def __iter__(self) -> LiveSession:
        return self

    def __next__(self) -> LiveFrame:
        """Wait for the next frame's time, draw and return it. Raises StopIteration after `close`."""
        with self._one_reader:
            delay = self._wait()
            with self._changed:  # what is pushed after `clear` is not forgotten with what was before
                number, interruptions = self._counts.frames, self._take_interruptions()
                moment = self._sound.next()
                self._undelivered = moment.pushed_samples + self._sound.decided_voice
                self._counts.frames += 1
            track = self._motion.hold(self._follower.apply(self._motion.step(moment)))
            is_new = delay < 1 / self.fps
            if is_new:
                self._image = self._draw(track)
            samples, ends_utterance = moment.samples, moment.ends_utterance
            with self._changed:
                spoke = self._state != "idle"
                self._state = "speaking" if moment.is_speech else "idle"
                if self._interruptions != interruptions:  # while it was drawn
                    samples, ends_utterance = np.zeros_like(samples), False
                    self._state = "interrupted" if spoke or moment.is_speech else "idle"
                else:
                    self._undelivered -= moment.pushed_samples
                    if self._closing_frames:
                        self._closing_frames -= 1
                        self._state = "interrupted"
                self._counts.skipped_frames += not is_new
            return LiveFrame(self._image, samples, number / self.fps, self._state, is_new, ends_utterance)

    def _wait(self) -> float:
        """Wait until the next frame is due; return by how many seconds it is late."""
        with self._changed:
            while not self._is_closed:
                if not self._options.paced:
                    return 0.0
                now = time.monotonic()
                if self._clock_start is None:
                    self._clock_start = now
                late = now - self._clock_start - self._counts.frames / self.fps
                if late > _LONGEST_DELAY_S:
                    if not self._counts.paused_seconds:
                        log.warning("frames were asked for %.1f s too late: the session stood still meanwhile.", late)
                    self._counts.paused_seconds += late
                    self._clock_start += late
                    late = 0.0
                if late >= 0:
                    return late
                self._changed.wait(-late)
        raise StopIteration

    def _take_interruptions(self) -> int:
        """Forget what was pushed before the last `clear`; return how many there were. `_changed` is held."""
        if self._interruptions != self._seen_interruptions:
            self._seen_interruptions = self._interruptions
            had_voice = self._sound.decided_voice > 0
            closing_frames = self._sound.clear()
            if self._state != "idle" or had_voice:
                self._closing_frames = closing_frames
        return self._interruptions

    def _silence_before(self) -> int:
        """Return the samples of silence before sound that comes now, so that the next chunks come in time."""
        now = self._now()
        if now is None:
            return 0
        wanted = now + self._sound.delay_seconds + _MARGIN_S
        most = 1 / self.fps + _MARGIN_S
        return round(min(max(wanted - self._sound.heard_seconds, 0.0), most) * self.sample_rate)

    def _now(self) -> float | None:
        """Return the time of the session's clock; None without one."""
        start = self._clock_start
        return time.monotonic() - start if self._options.paced and start is not None else None

    def _draw(self, track: MotionTrack) -> Image:
        image = composite(self._source, next(iter(self._face.frames(track))))
        image.flags.writeable = False
        return image

    def _warm_up(self) -> Image:
        """Draw all that moves once, so that no later frame takes long, and warn where one does. Return the rest."""
        rest = MotionTrack.neutral(1, self.fps)
        everything = MotionTrack(
            fps=self.fps,
            head=rest.head,
            blink=np.full((1, 2), 0.5),
            gaze=np.full((1, 2), 0.1),
            mouth=MouthControls(np.array([[0.1, 0.0, 0.0, 0.0, 0.0]])),
            breath=np.full(1, 0.5),
        )
        self._draw(everything)
        start = time.thread_time()
        self._draw(everything)
        seconds = time.thread_time() - start
        if seconds > 1 / self.fps:
            log.warning(
                "a frame takes %.0f ms here, not %.0f: frames will be skipped; a smaller --max-size or --fps helps.",
                1e3 * seconds,
                1e3 / self.fps,
            )
        return self._draw(rest)

    def _check_open(self) -> None:
        if self._is_closed:
            raise TalkerError("this live session is closed.")
