from __future__ import annotations

import io
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from data.audio.decode import AudioInfo, audio_info, decode_audio, verify_audio
from tests.data.audio.conftest import FORMATS, Encode, tone

# What is lost by encoding a chirp with noise.
LOSS = {"wav": 1 / 32768, "flac": 1 / 32768, "ogg": 0.2, "opus": 0.25, "mp3": 0.25}


@pytest.mark.parametrize("name", FORMATS)
def test_what_was_written_is_read(name: str, encoded: Encode) -> None:
    waveform, rate = decode_audio(encoded(name))
    assert (waveform.shape, waveform.dtype, rate) == ((16_000,), np.float32, 16_000)
    assert np.abs(waveform - tone()).max() <= LOSS[name]


@pytest.mark.parametrize("name", FORMATS)
def test_the_header_is_that_of_the_file(name: str, encoded: Encode) -> None:
    found = audio_info(encoded(name))
    assert found == AudioInfo(16_000, 16_000, 1, {"opus": "ogg"}.get(name, name), 16)
    assert found.seconds == 1.0


def test_bits_worth_keeping(encoded: Encode) -> None:
    found = {subtype: audio_info(encoded("wav", subtype=subtype)).bits for subtype in ("PCM_U8", "PCM_24", "FLOAT")}
    assert found == {"PCM_U8": 16, "PCM_24": 24, "FLOAT": 24}


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_a_range_is_cut_out_of_the_whole(name: str, encoded: Encode, data: st.DataObject) -> None:
    content = encoded(name)
    whole, _ = decode_audio(content)
    start = data.draw(st.integers(0, 15_999))
    num_frames = data.draw(st.none() | st.integers(1, 16_000 - start))
    part, _ = decode_audio(content, start=start, num_frames=num_frames)
    expected = whole[start:] if num_frames is None else whole[start : start + num_frames]
    assert part.shape == expected.shape
    assert np.abs(part - expected).max() <= {"mp3": 1e-6, "opus": 5e-3}.get(name, 0)


def test_a_path_is_as_good_as_bytes(encoded: Encode, tmp_path: Path) -> None:
    path = tmp_path / "tone.flac"
    path.write_bytes(encoded("flac"))
    assert np.array_equal(decode_audio(path, start=99)[0], decode_audio(encoded("flac"), start=99)[0])
    assert verify_audio(path) == verify_audio(encoded("flac")) == audio_info(path)


def test_channels_are_averaged_or_kept(encoded: Encode) -> None:
    stereo_TC = np.stack([tone(seed=1), 0.5 * tone(seed=2)], axis=1)
    content = encoded("wav", stereo_TC, subtype="FLOAT")
    assert np.array_equal(decode_audio(content, mono=False)[0], stereo_TC.T)
    assert np.allclose(decode_audio(content)[0], (stereo_TC[:, 0] + stereo_TC[:, 1]) / 2)
    assert decode_audio(encoded("wav"), mono=False)[0].shape == (1, 16_000)
    assert audio_info(content).channels == 2


@pytest.mark.parametrize("read", [decode_audio, verify_audio, audio_info])
@pytest.mark.parametrize("content", [b"", b"hello, I am a text\n" * 99, bytes(999), b"RIFF\x00\x00\x00\x00WAVE"])
def test_other_bytes_are_no_audio(read: object, content: bytes) -> None:
    with pytest.raises(ValueError, match="cannot be decoded as audio: "):
        read(content)


@pytest.mark.parametrize("name", ["wav", "flac"])
@pytest.mark.parametrize("read", [decode_audio, verify_audio])
def test_a_recording_of_nothing_is_refused(name: str, read: object, encoded: Encode) -> None:
    with pytest.raises(ValueError, match=r"empty|cannot be decoded"):
        read(encoded(name, np.zeros(0, np.float32)))


@pytest.mark.parametrize(("start", "num_frames"), [(-1, 5), (0, 0), (0, 16_001), (15_999, 2), (16_000, None), (3, -1)])
def test_ranges_outside_are_refused(start: int, num_frames: int | None, encoded: Encode) -> None:
    with pytest.raises(ValueError, match=f"frames {start} to .* of a recording of 16000 frames"):
        decode_audio(encoded("wav"), start=start, num_frames=num_frames)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("share", [0.3, 0.9, None])
def test_cut_files_are_found_out(name: str, share: float | None, encoded: Encode) -> None:
    content = encoded(name)
    assert verify_audio(content).frames == 16_000
    with pytest.raises(ValueError, match=r"cut short|cannot be decoded"):
        verify_audio(content[: -1 if share is None else int(share * len(content))])


def test_a_wav_whose_writer_could_not_seek_back_goes_on_to_its_end(encoded: Encode) -> None:
    content = bytearray(encoded("wav"))
    at = content.index(b"data") + 4
    content[at : at + 4] = b"\xff\xff\xff\xff"
    assert verify_audio(bytes(content)).frames == 16_000


def test_chunks_before_the_samples_of_a_wav_are_passed_over(encoded: Encode) -> None:
    content = encoded("wav")
    at = content.index(b"data")
    odd_chunk = b"LIST\x03\x00\x00\x00abc\x00"
    assert verify_audio(content[:at] + odd_chunk + content[at:]).frames == 16_000
    with pytest.raises(ValueError, match="cut short: 2 of 32000 bytes of samples are missing"):
        verify_audio(content[:at] + odd_chunk + content[at:-2])


def test_damage_in_the_middle_of_a_flac_is_an_error(encoded: Encode) -> None:
    content = bytearray(encoded("flac"))
    content[len(content) // 2 : len(content) // 2 + 200] = bytes(200)
    for read in (decode_audio, verify_audio):
        with pytest.raises(ValueError, match=r"cannot be decoded as audio|cut short"):
            read(bytes(content))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(value: float, encoded: Encode) -> None:
    waveform = tone()
    waveform[5000] = value
    content = encoded("wav", waveform, subtype="FLOAT")
    for read in (decode_audio, verify_audio):
        with pytest.raises(ValueError, match="not finite"):
            read(content)
    assert np.isfinite(decode_audio(content, start=5001)[0]).all()


def test_a_header_that_promises_terabytes_is_refused(encoded: Encode) -> None:
    content = bytearray(encoded("flac"))
    # STREAMINFO: the 36-bit number of samples ends at byte 26 (RFC 9639, section 8.2).
    content[21] |= 0x0F
    content[22:26] = b"\xff\xff\xff\xff"
    with pytest.raises(ValueError, match=r"cut short|too long|cannot be decoded"):
        verify_audio(bytes(content))


@settings(max_examples=60, deadline=None)
@given(data=st.data(), name=st.sampled_from(["wav", "flac", "ogg"]))
def test_damaged_bytes_give_a_waveform_or_a_reason(encoded: Encode, data: st.DataObject, name: str) -> None:
    content = bytearray(encoded(name, tone(2000)))
    for at in data.draw(st.lists(st.integers(0, min(len(content), 400) - 1), min_size=1, max_size=4)):
        content[at] = data.draw(st.integers(0, 255))
    # Another exception than ValueError fails the test.
    with suppress(ValueError):
        waveform, rate = decode_audio(bytes(content), num_frames=100)
        assert waveform.shape == (100,)
        assert rate > 0


def test_soundfile_agrees_on_the_whole(encoded: Encode) -> None:
    content = encoded("ogg")
    assert np.array_equal(decode_audio(content)[0], soundfile.read(io.BytesIO(content), dtype="float32")[0])
