"""
What can go wrong, by whose fault.

ServiceError
  + CallerError        do not retry unchanged
      InvalidOption · InvalidRequest · ModelNotFound · BodyTooSlow · PayloadTooLarge · ImageTooLarge
      UnsupportedMediaType · UndecodableImage · AnswerTooLarge · CallerLeft · NotPermitted · NotOffered
      Unauthenticated · Forbidden
  + Unavailable        retry later or elsewhere
      Overloaded · NotReady · DeadlineExceeded · RateLimited · QuotaExceeded
  + Fault              ours
      EngineFailed · BundleInvalid

Each leaf has a `code` that never changes: clients may switch on it. Status codes live in the doors.
"""


class ServiceError(Exception):
    """Base of everything this service raises on purpose. str(error) is the sentence shown to the caller."""

    code = "internal"
    title = "Internal error"


class CallerError(ServiceError):
    """The request cannot succeed as it stands. violations: (option or member, what is wrong with it), where known."""

    violations: tuple[tuple[str, str], ...] = ()


class InvalidOption(CallerError):
    """An option is unknown or out of range."""

    code, title = "invalid_option", "Invalid option"


class InvalidRequest(CallerError):
    """The body is not what its content type says, or holds no image."""

    code, title = "invalid_request", "Invalid request"


class ModelNotFound(CallerError):
    """No such model or version is served here."""

    code, title = "model_not_found", "Model not found"


class BodyTooSlow(CallerError):
    """The body did not arrive in time."""

    code, title = "body_too_slow", "Body arrived too slowly"


class PayloadTooLarge(CallerError):
    """The body has more bytes than allowed."""

    code, title = "payload_too_large", "Payload too large"


class ImageTooLarge(CallerError):
    """The picture has more pixels than allowed."""

    code, title = "image_too_large", "Image too large"


class UnsupportedMediaType(CallerError):
    """The content is not one of the accepted image formats."""

    code, title = "unsupported_media_type", "Unsupported media type"


class UndecodableImage(CallerError):
    """The format is right but the picture is broken."""

    code, title = "undecodable_image", "Undecodable image"


class AnswerTooLarge(CallerError):
    """What was asked for weighs more than is ever sent; the message says which options make it lighter."""

    code, title = "answer_too_large", "Answer too large"


class CallerLeft(CallerError):
    """The caller hung up before its answer was ready; nobody reads this."""

    code, title = "caller_left", "Caller left"


class NotPermitted(CallerError):
    """This service is set not to do that for anybody."""

    code, title = "not_permitted", "Not permitted"


class Unauthenticated(CallerError):
    """No key or token, or one that is not valid here."""

    code, title = "unauthenticated", "Unauthenticated"


class Forbidden(CallerError):
    """The key or token does not allow that."""

    code, title = "forbidden", "Forbidden"


class NotOffered(CallerError):
    """A part of a protocol that is optional, and not offered here."""

    code, title = "not_offered", "Not offered"


class Unavailable(ServiceError):
    """The same request may succeed later or elsewhere."""

    retry_after_s: float | None = None


class Overloaded(Unavailable):
    """Refused at once: there is more work inside than can be done in time."""

    code, title = "overloaded", "Overloaded"

    def __init__(self, message: str, retry_after_s: float, reason: str) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.reason = reason


class NotReady(Unavailable):
    """Starting or draining."""

    code, title = "not_ready", "Not ready"


class DeadlineExceeded(Unavailable):
    """The caller's deadline passed before the answer was there."""

    code, title = "deadline_exceeded", "Deadline exceeded"


class RateLimited(Unavailable):
    """More images in a short time than the caller's key allows."""

    code, title = "rate_limited", "Rate limited"

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class QuotaExceeded(Unavailable):
    """The caller's images for the day are used up."""

    code, title = "quota_exceeded", "Quota exceeded"

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Fault(ServiceError):
    """Our fault; the caller did nothing wrong."""


class EngineFailed(Fault):
    """The engine raised on an input that had passed every check."""

    code, title = "engine_failed", "Engine failed"


class BundleInvalid(Fault):
    """A model on disk that cannot be served; the message names the file and what is wrong with it."""

    code, title = "bundle_invalid", "Bundle invalid"
