"""What programs do with SQLAlchemy: tables made and reflected, objects kept, changed and found."""

import os
import sys

from sqlalchemy import MetaData, create_engine, func, inspect, select
from sqlalchemy.exc import IntegrityError, DBAPIError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

URL = sys.argv[1].replace("http://", "sqlite+libsql://")
TOKEN = os.environ.get("TOKEN", "")


class Base(DeclarativeBase):
    pass


class Shop(Base):
    __tablename__ = "shops"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Item(Base):
    __tablename__ = "items"
    id: Mapped[int] = mapped_column(primary_key=True)
    shop: Mapped[int]
    price: Mapped[float]


engine = create_engine(URL, connect_args={"auth_token": TOKEN})
Base.metadata.create_all(engine)
# What is there is found, and not made again.
Base.metadata.create_all(engine)
names = inspect(engine).get_table_names()
assert {"shops", "items"} <= set(names), names
reflected = MetaData()
reflected.reflect(engine, only=["shops", "items"])
columns = {column.name: column.type.python_type for column in reflected.tables["items"].columns}
assert columns == {"id": int, "shop": int, "price": float}, columns
assert [c.name for c in reflected.tables["shops"].primary_key] == ["id"]

with Session(engine) as session:
    session.add(Shop(id=1, name="corner"))
    session.commit()
for number in range(1, 6):
    with Session(engine) as session:
        session.add(Item(id=number, shop=1, price=number + 0.5))
        session.commit()
with Session(engine) as session:
    shop = session.get(Shop, 1)
    shop.name = "market"
    session.flush()
    assert session.scalar(select(Shop.name).where(Shop.id == 1)) == "market"
    session.rollback()
with Session(engine) as session:
    assert session.get(Shop, 1).name == "corner"
    total = session.scalar(select(func.sum(Item.price)).join(Shop, Shop.id == Item.shop))
    assert total == 17.5, total
    session.get(Shop, 1).name = "market"
    session.commit()
with Session(engine) as session:
    assert session.get(Shop, 1).name == "market"
    session.delete(session.get(Item, 2))
    session.commit()
    assert session.scalar(select(func.count()).select_from(Item)) == 4
try:
    with Session(engine) as session:
        session.add(Shop(id=1, name="again"))
        session.commit()
    raise SystemExit("it was not refused")
except (IntegrityError, DBAPIError, ValueError) as error:
    assert "UNIQUE constraint failed" in str(error), error
print("done")
