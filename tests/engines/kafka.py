"""Apache Kafka as one JVM, broker and controller in one (KRaft)."""

import subprocess
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.engines.engine import CACHE, Process, free_port
from tests.engines.maven import JVMEngine

VERSION = "4.1.2"
SCALA = "2.13"
READY_SECONDS_MAX = 120
FORMAT_SECONDS_MAX = 60

POM = f"""
<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>chronoserve</groupId>
  <artifactId>kafka</artifactId>
  <version>{VERSION}</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_{SCALA}</artifactId><version>{VERSION}</version></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>{VERSION}</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
"""

PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
log.dirs={directory}/data
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
log.cleaner.dedupe.buffer.size=4194304
"""


class Kafka(JVMEngine):
    """One broker on a loopback port; topics are made when they are first written to."""

    name = "kafka"
    home = CACHE / f"kafka-{VERSION}"
    pom = POM

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._controller = free_port()

    @property
    def bootstrap_servers(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"kafka://{self.bootstrap_servers}"

    def start(self) -> None:
        properties = self.directory / "server.properties"
        if not properties.exists():
            properties.write_text(PROPERTIES.format(port=self.port, controller=self._controller, directory=self.directory))
            self._format(properties)
        memory = ("-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
        command: list[str | Path] = ["java", *memory, "-cp", f"{self.home / 'lib'}/*", "kafka.Kafka", properties]
        self._process = Process(command, log=self.directory / "kafka.log", cwd=self.directory)
        self._process.wait_until(self._answers, seconds=READY_SECONDS_MAX)

    def _format(self, properties: Path) -> None:
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        tool = ["java", "-cp", f"{self.home / 'lib'}/*", "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(properties)]
        subprocess.run(tool, check=True, timeout=FORMAT_SECONDS_MAX, capture_output=True)

    def _answers(self) -> bool:
        try:
            AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0}).list_topics(timeout=1.0)
        except KafkaException:
            return False
        return True
