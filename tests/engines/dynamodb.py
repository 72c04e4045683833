"""DynamoDB Local, Amazon's own emulator, as one JVM with its data on disk."""

import http.client
import platform
import shutil
from pathlib import Path

from tests.engines.engine import CACHE, Process
from tests.engines.maven import JVMEngine

VERSION = "3.3.1"
SDK_VERSION = "2.40.0"
"""DynamoDB Local asks for an SDK release whose artifacts are not all published; this one has them."""

MAIN = "software.amazon.dynamodb.services.local.main.ServerRunner"
READY_SECONDS_MAX = 60

LOOK_UP_TABLE = {
    "Authorization": "AWS4-HMAC-SHA256 Credential=local/20260101/eu-west-1/dynamodb/aws4_request, SignedHeaders=host, Signature=00",
    "Content-Type": "application/x-amz-json-1.0",
    "X-Amz-Target": "DynamoDB_20120810.DescribeTable",
}
"""A call for a table that is not there, which is answered with 400; the emulator does not check signatures."""

POM = f"""
<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>chronoserve</groupId>
  <artifactId>dynamodb-local</artifactId>
  <version>{VERSION}</version>
  <packaging>pom</packaging>
  <dependencyManagement>
    <dependencies>
      <dependency>
        <groupId>software.amazon.awssdk</groupId>
        <artifactId>bom</artifactId>
        <version>{SDK_VERSION}</version>
        <type>pom</type>
        <scope>import</scope>
      </dependency>
    </dependencies>
  </dependencyManagement>
  <dependencies>
    <dependency>
      <groupId>software.amazon.dynamodb</groupId>
      <artifactId>DynamoDBLocal</artifactId>
      <version>{VERSION}</version>
    </dependency>
  </dependencies>
</project>
"""


class DynamoDB(JVMEngine):
    """One DynamoDB Local on a loopback port; any credentials will do."""

    name = "dynamodb"
    home = CACHE / f"dynamodb-local-{VERSION}"
    pom = POM

    @staticmethod
    def finish(home: Path) -> None:
        """SQLite's binding is looked up without the version that its file name has."""
        machine = {"x86_64": "amd64"}.get(platform.machine(), platform.machine())
        (library,) = (home / "lib").glob(f"libsqlite4java-linux-{machine}-*.so")
        native = home / "native"
        native.mkdir()
        shutil.copy(library, native / f"libsqlite4java-linux-{machine}.so")

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"dynamodb://eu-west-1/conformance?endpoint={self.endpoint}&access_key=local&secret_key=local"

    def start(self) -> None:
        data = self.directory / "data"
        data.mkdir(exist_ok=True)
        command: list[str | Path] = [
            "java",
            "-Xmx256m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            f"-Djava.library.path={self.home / 'native'}",
            "-cp",
            f"{self.home / 'lib'}/*",
            MAIN,
            "-port",
            str(self.port),
            "-sharedDb",
            "-dbPath",
            data,
            "-disableTelemetry",
        ]
        self._process = Process(command, log=self.directory / "dynamodb.log")
        self._process.wait_until(self._answers, seconds=READY_SECONDS_MAX)

    def _answers(self) -> bool:
        """Whether it answers a call of its API: it listens long before, and the first call of a cold JVM takes seconds."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=READY_SECONDS_MAX)
        try:
            connection.request("POST", "/", b'{"TableName": "ready"}', LOOK_UP_TABLE)
            return connection.getresponse().status == http.client.BAD_REQUEST
        except OSError:
            return False
        finally:
            connection.close()
