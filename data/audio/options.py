"""Options of every audio transform. Free of heavy imports.

Fields: `waveform` [T] float32 and `sample_rate` []; `length` [], the samples before the padding, where a crop may
pad; after `log_mel` `spectrogram` [T, F] and `num_frames` [], its frames before the padding.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from configs.options import Part

Positive = Annotated[int, Field(gt=0)]


class ResampleOptions(Part):
    """Another sample rate: windowed-sinc interpolation, as torchaudio.functional.resample (Smith 1984)."""

    kind: Literal["resample"] = "resample"
    sample_rate: int = Field(ge=1000, le=768_000)
    "The rate to resample to, in Hz. T samples become ceil(T * new / old)."

    builds: ClassVar[str] = "data.audio.resample:Resample"


class CropOptions(Part):
    """What all crops have: `waveform` becomes `samples` long; sets `length`."""

    samples: int | None = Field(default=None, gt=0)
    "Length in samples."
    seconds: float | None = Field(default=None, gt=0)
    "Length in seconds, at the rate of the sample; give this or `samples`."
    at: Literal["random", "start", "center"] = "random"
    "Where a longer waveform is cut."
    shorter: Literal["zeros", "repeat", "refuse"] = "zeros"
    "What happens to a shorter one: zeros behind it, the same again until full (nothing counts as padding), an error."

    @model_validator(mode="after")
    def _check_one_length(self) -> Self:
        if (self.samples is None) == (self.seconds is None):
            raise ValueError("give one of 'samples' and 'seconds'")
        return self


class CropAudioOptions(CropOptions):
    """A crop of `waveform`."""

    kind: Literal["crop_audio"] = "crop_audio"

    builds: ClassVar[str] = "data.audio.crops:CropAudio"


class DecodeCropOptions(CropOptions):
    """Decode only a crop of an encoded file: for long recordings, whose decoding would take longer than training."""

    kind: Literal["decode_crop"] = "decode_crop"
    field: str = "audio"
    "The undecoded file, such as `fields: {audio: flac:raw}` gives; replaced by `waveform` and `sample_rate`."

    builds: ClassVar[str] = "data.audio.crops:DecodeCrop"


class GainOptions(Part):
    """Louder or softer by a random number of decibels; nothing is clipped."""

    kind: Literal["gain"] = "gain"
    min_db: float = -6.0
    "Least gain, in dB."
    max_db: float = 6.0
    "Greatest gain, in dB."

    builds: ClassVar[str] = "data.audio.levels:Gain"

    @model_validator(mode="after")
    def _check_range(self) -> Self:
        _ordered("min_db", self.min_db, "max_db", self.max_db)
        return self


class NormalizeAudioOptions(Part):
    """Zero mean and unit variance per waveform (wav2vec 2.0). Padding is not counted, and stays zero."""

    kind: Literal["normalize_audio"] = "normalize_audio"

    builds: ClassVar[str] = "data.audio.levels:NormalizeAudio"


class AddNoiseOptions(Part):
    """White noise at a random signal-to-noise ratio. Padding and silence stay as they are."""

    kind: Literal["add_noise"] = "add_noise"
    min_snr_db: float = 10.0
    "Least ratio of the mean powers of signal and noise, in dB."
    max_snr_db: float = 40.0
    "Greatest ratio, in dB."
    probability: float = Field(default=1.0, ge=0, le=1)
    "How many samples get noise."

    builds: ClassVar[str] = "data.audio.levels:AddNoise"

    @model_validator(mode="after")
    def _check_range(self) -> Self:
        _ordered("min_snr_db", self.min_snr_db, "max_snr_db", self.max_snr_db)
        return self


class LogMelOptions(Part):
    """`waveform` -> `spectrogram` [T, n_mels] of log mel energies, and `num_frames` []."""

    kind: Literal["log_mel"] = "log_mel"
    convention: Literal["whisper", "kaldi", "htk", "slaney"] = "whisper"
    """Whose features these are, to the last digit; N samples give T frames.
    whisper: Radford et al. 2022; T = floor(N / hop). kaldi: compute-fbank-feats, used by AST and Audio-MAE;
    T = 1 + floor((N - window) / hop), samples behind the last whole window are dropped.
    htk, slaney: natural logarithm of torchaudio's MelSpectrogram on that mel scale; T = 1 + floor(N / hop).
    All but kaldi centre frame t on sample t * hop and reflect the waveform at its ends."""
    sample_rate: int = Field(default=16_000, gt=0)
    "The rate that waveforms must have, in Hz."
    n_mels: int = Field(default=80, gt=3)
    "Mel bands F."
    hop: int = Field(default=160, gt=0)
    "Samples from one frame to the next."
    window: int = Field(default=400, gt=1)
    "Samples of a frame."
    n_fft: int | None = Field(default=None, gt=1)
    "Points of the Fourier transform, even. Null: the window; for kaldi the next power of two."
    window_function: Literal["hann", "povey"] | None = None
    "Null: povey for kaldi, else hann. AST and Audio-MAE take hann."
    fmin: float | None = Field(default=None, ge=0)
    "Lower end of the lowest band in Hz. Null: 20 for kaldi, else 0."
    fmax: float | None = Field(default=None, gt=0)
    "Upper end of the highest band in Hz. Null: half the sample rate."
    frames: int | None = Field(default=None, gt=0)
    "Exactly so many frames: later ones are cut off, missing ones are zeros (before mean and std). Null: as they come."
    mean: float = 0.0
    "Subtracted at the end."
    std: float = Field(default=1.0, gt=0)
    "Divided by at the end. (AST on AudioSet: mean -4.2677393, std 9.1379948, twice the standard deviation.)"
    keep_waveform: bool = False
    "Keep the fields `waveform` and `length` too."

    builds: ClassVar[str] = "data.audio.mel:LogMel"

    @property
    def fft_points(self) -> int:
        """`n_fft`, with its default."""
        usual = 1 << (self.window - 1).bit_length() if self.convention == "kaldi" else self.window
        return usual if self.n_fft is None else self.n_fft

    @property
    def lowest(self) -> float:
        """`fmin`, with its default."""
        usual = 20.0 if self.convention == "kaldi" else 0.0
        return usual if self.fmin is None else self.fmin

    @property
    def highest(self) -> float:
        """`fmax`, with its default."""
        return self.sample_rate / 2 if self.fmax is None else self.fmax

    @model_validator(mode="after")
    def _check_bands(self) -> Self:
        if self.fft_points < self.window or self.fft_points % 2:
            raise ValueError(f"n_fft {self.fft_points}: expected an even number, at least window ({self.window})")
        if not self.lowest < self.highest <= self.sample_rate / 2:
            raise ValueError(
                f"bands from {self.lowest} to {self.highest} Hz: expected fmin < fmax <= half of sample_rate "
                f"({self.sample_rate / 2})"
            )
        if self.window_function == "povey" and self.convention != "kaldi":
            raise ValueError("window_function povey belongs to convention kaldi")
        return self


class SpanMaskOptions(Part):
    """Spans of masked frames (wav2vec 2.0, Baevski et al. 2020): adds `mask` [frames] bool, true where masked.

    A share p of the frames is drawn, without replacement, as starts of spans of M frames, which may overlap and
    never reach beyond the last frame. Padding is not masked.
    """

    kind: Literal["span_mask"] = "span_mask"
    field: Literal["waveform", "spectrogram"] = "waveform"
    "What the frames are computed from."
    p: float = Field(default=0.065, gt=0, le=1)
    "Share of the frames at which a span starts; p * frames is rounded up or down at random."
    span: int = Field(default=10, gt=0)
    "Frames M of a span."
    min_spans: int = Field(default=1, ge=0)
    "Least number of spans."
    exact: bool = False
    """Mask the same number of frames in every sample of the same shape: round(frames * (1 - (1 - p)^M)), which is
    what p and M mask on average (49% by default). Spans are laid in random order; the last one is cut short."""
    kernels: list[Positive] | None = None
    "Kernel sizes of the convolutions between field and frames. Null: those of wav2vec 2.0; none for a spectrogram."
    strides: list[Positive] | None = None
    "Their strides. Null: those of wav2vec 2.0 (a frame every 320 samples); none for a spectrogram."

    builds: ClassVar[str] = "data.audio.masks:SpanMask"

    @property
    def convolutions(self) -> list[tuple[int, int]]:
        """(kernel, stride) of each convolution."""
        usual = self.field == "waveform"
        kernels = self.kernels if self.kernels is not None else [10, 3, 3, 3, 3, 2, 2] if usual else []
        strides = self.strides if self.strides is not None else [5, 2, 2, 2, 2, 2, 2] if usual else []
        return list(zip(kernels, strides, strict=True))

    @model_validator(mode="after")
    def _check_convolutions(self) -> Self:
        try:
            self.convolutions  # noqa: B018
        except ValueError:
            raise ValueError(f"kernels {self.kernels} and strides {self.strides}: expected as many of each") from None
        return self


class NegativesOptions(Part):
    """Distractors (wav2vec 2.0): adds `negatives` [frames, K] int32, for every masked frame K others of the sample.

    They are drawn from the other masked frames, each time from all of them. Rows of frames that are not masked are 0.
    Belongs behind `span_mask`, which adds `mask`.
    """

    kind: Literal["negatives"] = "negatives"
    count: int = Field(default=100, gt=0)
    "Distractors K of every masked frame."

    builds: ClassVar[str] = "data.audio.negatives:Negatives"


class SpecAugmentOptions(Part):
    """SpecAugment (Park et al. 2019) on `spectrogram`: masks in time and frequency, no time warp.

    The defaults are the policy "LD" of the paper for spectrograms normalised to zero mean.
    """

    kind: Literal["spec_augment"] = "spec_augment"
    freq_masks: int = Field(default=2, ge=0)
    "Number of masks in frequency."
    freq_width: int = Field(default=27, gt=0)
    "Greatest width F of one, in bands; the width is uniform on 0 to F."
    time_masks: int = Field(default=2, ge=0)
    "Number of masks in time."
    time_width: int = Field(default=100, gt=0)
    "Greatest width T of one, in frames."
    time_share: float = Field(default=1.0, gt=0, le=1)
    "Greatest width of one as a share p of the frames before the padding."
    value: float | Literal["mean"] = 0.0
    "What is written into the masks: a number, or the mean of the spectrogram (padding not counted)."

    builds: ClassVar[str] = "data.audio.spec_augment:SpecAugment"


class SpectrogramPatchMaskOptions(Part):
    """A random set of patches of `spectrogram` (Audio-MAE, Huang et al. 2022): adds `mask` [P] bool, true where masked.

    Patches are numbered along frequency first: patch (t, f) is t * (F / patch_freq) + f. The same number of patches
    is masked in every sample.
    """

    kind: Literal["spectrogram_patch_mask"] = "spectrogram_patch_mask"
    patch_time: int = Field(default=16, gt=0)
    "Frames of a patch; must divide the frames (see `frames` of log_mel)."
    patch_freq: int = Field(default=16, gt=0)
    "Bands of a patch; must divide the bands."
    share: float = Field(default=0.8, ge=0, le=1)
    "Share of the patches that is masked, rounded to a whole number."

    builds: ClassVar[str] = "data.audio.masks:SpectrogramPatchMask"


AnyAudioTransform = (
    ResampleOptions
    | CropAudioOptions
    | DecodeCropOptions
    | GainOptions
    | NormalizeAudioOptions
    | AddNoiseOptions
    | LogMelOptions
    | SpanMaskOptions
    | NegativesOptions
    | SpecAugmentOptions
    | SpectrogramPatchMaskOptions
)
"Any audio transform; the families are put together, with the annotation Kind, where all transforms are."


def _ordered(low_name: str, low: float, high_name: str, high: float) -> None:
    if low > high:
        raise ValueError(f"{low_name} {low} is above {high_name} {high}")
