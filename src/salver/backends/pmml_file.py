"""What can be told of a PMML file without the evaluator, and what it is never given to read.

Source: https://dmg.org/pmml/v4-4-1/GeneralStructure.html.
"""

from collections.abc import Callable
from pathlib import Path
from xml.parsers import expat

from salver.errors import InvalidArgument, NotFound

_CHUNK = 1 << 20
_NEWEST = (4, 4)


class PmmlFile:
    """A well-formed XML document whose root is PMML of a version that is known."""

    def __init__(
        self,
        path: Path,
        where: str,
        on_element: Callable[[str, dict[str, str]], None] | None = None,
    ) -> None:
        """Read the file once, part by part.

        Args:
            path: the file.
            where: begins the message of an error.
            on_element: told the name and the attributes of each element.

        Raises:
            NotFound: there is none.
            InvalidArgument: it is no PMML, damaged, of a newer version, or has a DOCTYPE:
                through that a document can name other files, or grow without end.
        """
        self._path = path
        self._where = where
        self._on_element = on_element
        self._encoding = "utf-8"
        self._root: tuple[str, str] | None = None
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.XmlDeclHandler = self._declared
        parser.StartDoctypeDeclHandler = self._doctype
        parser.StartElementHandler = self._element
        self._parser = parser
        try:
            with path.open("rb") as file:
                self._has_mark = file.read(3) == b"\xef\xbb\xbf"
                file.seek(0)
                while content := file.read(_CHUNK):
                    parser.Parse(content, False)
            parser.Parse(b"", True)
        except FileNotFoundError:
            raise NotFound(f"{path}; No such file or directory") from None
        except (expat.ExpatError, LookupError, ValueError) as error:
            raise InvalidArgument(f"{where}: {path.name} is no whole XML: {error}") from error
        except OSError as error:
            raise InvalidArgument(f"{where}: {path.name}: {error.strerror}") from error

    def text(self) -> str | None:
        """The document, None where the file itself can be read as UTF-8."""
        if self._encoding.lower() in ("utf-8", "us-ascii") and not self._has_mark:
            return None
        try:
            return self._path.read_text("utf-8-sig" if self._has_mark else self._encoding)
        except (LookupError, ValueError) as error:
            raise InvalidArgument(
                f"{self._where}: {self._path.name} is not in the encoding {self._encoding} that "
                "it declares"
            ) from error

    def _inner_element(self, name: str, attributes: dict[str, str]) -> None:
        if self._on_element is not None:
            self._on_element(name.rpartition(" ")[2], attributes)

    def _declared(self, version: str, encoding: str | None, standalone: int) -> None:
        self._encoding = encoding or "utf-8"

    def _doctype(self, *_: object) -> None:
        raise InvalidArgument(
            f"{self._where}: {self._path.name} has a DOCTYPE, which no PMML needs and which can "
            "make a reader open other files: take it out"
        )

    def _element(self, name: str, attributes: dict[str, str]) -> None:
        self._parser.StartElementHandler = None if self._on_element is None else self._inner_element
        if name.rpartition(" ")[2] != "PMML":
            raise InvalidArgument(
                f"{self._where}: {self._path.name} is no PMML: its outermost element is "
                f"{name.rpartition(' ')[2]}"
            )
        version = attributes.get("version", "")
        try:
            parts = tuple(int(part) for part in version.split("."))
        except ValueError:
            raise InvalidArgument(
                f'{self._where}: {self._path.name} has the PMML version "{version}", which is none'
            ) from None
        if parts[:2] > _NEWEST:
            raise InvalidArgument(
                f"{self._where}: {self._path.name} is PMML {version}; "
                f"{'.'.join(map(str, _NEWEST))} is the newest that can be read"
            )
