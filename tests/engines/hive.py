"""A Hive metastore as one JVM, with its tables' descriptions in a Derby database of its own."""

from pathlib import Path

from tests.engines.engine import CACHE, Process, listens
from tests.engines.maven import JVMEngine

VERSION = "3.1.3"
HADOOP_VERSION = "3.1.4"
MAIN = "org.apache.hadoop.hive.metastore.HiveMetaStore"
READY_SECONDS_MAX = 120

POM = f"""
<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>chronoserve</groupId>
  <artifactId>hive-metastore</artifactId>
  <version>{VERSION}</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>com.google.guava</groupId><artifactId>guava</artifactId><version>27.0-jre</version></dependency>
    <dependency>
      <groupId>org.apache.hive</groupId><artifactId>hive-standalone-metastore</artifactId><version>{VERSION}</version>
      <exclusions><exclusion><groupId>org.pentaho</groupId><artifactId>*</artifactId></exclusion></exclusions>
    </dependency>
    <dependency><groupId>org.apache.hadoop</groupId><artifactId>hadoop-common</artifactId><version>{HADOOP_VERSION}</version></dependency>
    <dependency>
      <groupId>org.apache.hadoop</groupId><artifactId>hadoop-mapreduce-client-core</artifactId><version>{HADOOP_VERSION}</version>
    </dependency>
    <dependency><groupId>org.apache.derby</groupId><artifactId>derby</artifactId><version>10.14.2.0</version></dependency>
  </dependencies>
</project>
"""

SITE = """<configuration>
  <property><name>javax.jdo.option.ConnectionURL</name><value>jdbc:derby:;databaseName={directory}/db;create=true</value></property>
  <property><name>javax.jdo.option.ConnectionDriverName</name><value>org.apache.derby.jdbc.EmbeddedDriver</value></property>
  <property><name>datanucleus.schema.autoCreateAll</name><value>true</value></property>
  <property><name>metastore.schema.verification</name><value>false</value></property>
  <property><name>metastore.warehouse.dir</name><value>file://{directory}/warehouse</value></property>
  <property>
    <name>metastore.task.threads.always</name>
    <value>org.apache.hadoop.hive.metastore.events.EventCleanerTask</value>
  </property>
  <property>
    <name>metastore.expression.proxy</name>
    <value>org.apache.hadoop.hive.metastore.DefaultPartitionExpressionProxy</value>
  </property>
</configuration>
"""


class HiveMetastore(JVMEngine):
    """One metastore on a loopback port."""

    name = "hive"
    home = CACHE / f"hive-metastore-{VERSION}"
    pom = POM

    @property
    def url(self) -> str:
        """Of the warehouse, as ``warehouse.places`` reads it."""
        return f"hive://127.0.0.1:{self.port}"

    def start(self) -> None:
        (self.directory / "conf").mkdir(exist_ok=True)
        (self.directory / "conf" / "metastore-site.xml").write_text(SITE.format(directory=self.directory))
        classpath = f"{self.directory / 'conf'}:{self.home / 'lib'}/*"
        memory = ("-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
        command: list[str | Path] = ["java", *memory, "-cp", classpath, MAIN, "-p", str(self.port)]
        self._process = Process(command, log=self.directory / "hive.log", cwd=self.directory)
        self._process.wait_until(lambda: listens(self.port), seconds=READY_SECONDS_MAX)
